"""Wait for what other processes do, and see whether they have ended."""

import time
from collections.abc import Callable
from pathlib import Path


def eventually(condition: Callable[[], object], limit_s: float = 120.0) -> bool:
    """Wait until the condition holds; False if it does not within `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    """Whether a process has not ended, by Linux's /proc."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"  # a zombie has ended; who adopted it has only not asked yet
