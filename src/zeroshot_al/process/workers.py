"""Worker processes: how many, how they start, and that none is left behind."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

# Forked workers share the images and the imports; only Linux forks safely.
CONTEXT = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def n_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    # The affinity is what a container or a scheduler grants; macOS has none.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_pool(
    n_workers: int, initializer: Callable[..., object], *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of worker processes, which end in the middle of their work if the block fails.

    Each calls ``initializer(*arguments)`` as it starts.
    """
    with ProcessPoolExecutor(n_workers, CONTEXT, _start, (initializer, arguments)) as pool:
        try:
            # The first task starts the workers, which wait in `_start` for what they answer
            # otherwise than this process.
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
            try:
                pool.submit(int)
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            yield pool
        except BaseException:
            # All children, since an interrupt may come before the pool knows of one; and killed,
            # since a process that is just forked drops what could be handled.
            for worker in multiprocessing.active_children():
                worker.kill()
            # Waits for the pool's own thread, which waits for the workers: two threads that wait
            # for one process may both be told that it is not there.
            pool.shutdown(cancel_futures=True)
            raise


def _start(initializer: Callable[..., object], arguments: tuple) -> None:
    # Ctrl-C reaches the whole group; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    # No handler of a parent that is killed could end its workers.
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    initializer(*arguments)
