"""What every stage script shares: logging, and errors reported in one sentence with exit code 1."""

import errno
import logging
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.interrupts import end_with_dvc, interrupt_on_termination
from zeroshot_al.process.memory import keep_freed_memory

FREE_MEMORY = (
    "free some or lower batch_size or data.size_px in params.yaml, and run again: finished work is "
    "kept"
)
NO_MEMORY = f"memory ran out; {FREE_MEMORY}"


def run_stage(main: Callable[..., None], *args: object) -> None:
    """Run a stage's `main`, turning what a user can mend into one sentence and exit code 1.

    Any other exception keeps its traceback: it is ours to mend.
    """
    prepare_process()
    try:
        end_with_dvc()
        main(*args)
    except (Exception, KeyboardInterrupt) as error:
        if (message := sentence(error)) is None:
            raise
        sys.exit(f"{Path(sys.argv[0]).stem}: {message}")


def prepare_process() -> None:
    """Set up logging, SIGTERM as Ctrl-C, and the allocator."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.captureWarnings(True)
    interrupt_on_termination()
    keep_freed_memory()


def sentence(error: BaseException) -> str | None:
    """Return one sentence for an error that a user can mend, and None for any other."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, InputError):
        return str(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full ({error.filename or 'no file named'}); "
            "free some space and run again: finished work is kept"
        )
    if number in (errno.EACCES, errno.EROFS):
        return f"{error.filename}: {error.strerror}; change its permissions"
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return NO_MEMORY
    if isinstance(error, BrokenProcessPool):
        return f"a worker process was killed, by the system if memory ran short; {FREE_MEMORY}"
    # PyTorch's own: torch.OutOfMemoryError of a GPU, and no type of its own on a CPU.
    words = ("out of memory", "can't allocate memory")
    if isinstance(error, RuntimeError) and any(word in str(error) for word in words):
        return NO_MEMORY
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run again to continue, what is finished is kept"
    return None
