"""What every stage script shares: logging, and errors told in one sentence with exit code 1."""

import errno
import logging
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from zeroshot_al.errors import InputError
from zeroshot_al.interrupts import end_with_dvc, interrupt_on_termination

FREE_MEMORY = (
    "free some or lower batch_size or data.size_px in params.yaml, and run again: finished work is "
    "kept"
)
NO_MEMORY = f"memory ran out; {FREE_MEMORY}"


def run_stage(main: Callable[..., None], *args: object) -> None:
    """Run a stage's `main`, turning what a user can mend into one sentence and exit code 1.

    Any other exception keeps its traceback: it is ours to mend.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.captureWarnings(True)
    # Lightning, which lightly imports, logs what no user of ours asked for.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    name = Path(sys.argv[0]).stem
    interrupt_on_termination()
    try:
        end_with_dvc()
        main(*args)
    except InputError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(f"{name}: the disk is full ({error.filename or 'no file named'}); "
                     "free some space and run again: finished work is kept")  # fmt: skip
        if error.errno in (errno.EACCES, errno.EROFS):
            sys.exit(f"{name}: {error.filename}: {error.strerror}; change its permissions")
        if error.errno == errno.ENOMEM:
            sys.exit(f"{name}: {NO_MEMORY}")
        raise
    except MemoryError:
        sys.exit(f"{name}: {NO_MEMORY}")
    except BrokenProcessPool:
        sys.exit(f"{name}: a worker process was killed, by the system if memory ran short; "
                 f"{FREE_MEMORY}")  # fmt: skip
    except RuntimeError as error:
        # PyTorch's own: torch.OutOfMemoryError of a GPU, and no type of its own on a CPU.
        if "out of memory" in str(error) or "can't allocate memory" in str(error):
            sys.exit(f"{name}: {NO_MEMORY}")
        raise
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; run again to continue, what is finished is kept")
