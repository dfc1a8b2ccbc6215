"""Ctrl-C, SIGTERM and the end of DVC, each at a moment when it would be lost."""

import _thread
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

# Long enough to remove a half-written array of any size.
GRACE_S = 60.0


def interrupt_on_termination() -> None:
    """Answer SIGTERM as Ctrl-C: by KeyboardInterrupt, so that what is half written is removed.

    Neither is lost where Python would print and drop it.
    """

    def interrupt(number: int, frame: object) -> None:
        # A second one, of a group that got the signal and of DVC's end, would break off the
        # removing.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    def send_again(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            signal.signal(signal.SIGTERM, interrupt)
            number = signal.SIGTERM
        elif (number := getattr(dropped.exc_value, "sigval", None)) is None:  # SignalException
            sys.__unraisablehook__(dropped)
            return
        # From a thread, since this one is still where an exception is dropped; and without
        # `threading`, whose locks may be held here.
        _thread.start_new_thread(_send_later, (number,))

    signal.signal(signal.SIGTERM, interrupt)
    # Raised by a handler in a `__del__`, a weakref's callback or a hook around a fork, an exception
    # has no caller to go to.
    sys.unraisablehook = send_again


def _send_later(number: int) -> None:
    time.sleep(0.1)
    os.kill(os.getpid(), number)


def end_with_dvc() -> None:
    """Interrupt this process when the DVC that runs it has ended; without DVC do nothing.

    DVC does not hand SIGTERM on, and when it is killed it can do nothing: its stage would go on,
    unseen, and write beside the next run.
    """
    if "DVC_STAGE" not in os.environ:
        return
    end_with(_dvc_process())


def end_with(process: psutil.Process | None) -> None:
    """Interrupt this process when another one has ended; None is one that has ended already."""

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            # Not `wait`, for which one that has ended lives until its own parent has asked.
            while process and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="end with", daemon=True).start()


def _dvc_process() -> psutil.Process | None:
    """Return the process of DVC, None if it has ended already."""
    parent = psutil.Process().parent()
    # DVC runs a stage by the user's shell, and not every shell steps aside for its command.
    if parent and parent.name() == Path(os.environ.get("SHELL") or "/bin/sh").name:
        parent = parent.parent()
    with suppress(OSError):
        # Whoever adopts an orphan is of another session than the one who started it, unless that
        # gave it a session of its own, as torch's launcher of ranks does and DVC does not.
        if parent and os.getsid(0) not in (os.getsid(parent.pid), os.getpid()):
            return None
    return parent
