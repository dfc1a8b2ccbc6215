"""The end of worker processes: with a failure of their work, and with a parent that was killed."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def end_workers(pool: ProcessPoolExecutor) -> None:
    """End the workers of `pool` in the middle of their work, and return when they have ended."""
    for worker in list((pool._processes or {}).values()):
        worker.terminate()
    # Waits for the pool's own thread, which waits for the workers: two threads that wait for one
    # process may both be told that it is not there.
    pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """End this worker when its parent has ended, which no handler can see to after a kill -9."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
