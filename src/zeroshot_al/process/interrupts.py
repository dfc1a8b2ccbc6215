"""Ctrl-C, SIGTERM and the end of DVC, each at a moment when it would be lost."""

import _thread
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

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


def end_with(process: int | None) -> None:
    """Interrupt this process when another one has ended; None is one that has ended already."""
    threading.Thread(target=_end_after, args=(process,), name="end with", daemon=True).start()


def _dvc_process() -> int | None:
    """Return the process id of DVC, None if it has ended already."""
    parent = os.getppid()
    with suppress(OSError):  # no /proc
        # DVC runs a stage by the user's shell, and not every shell steps aside for its command.
        name, _, rest = Path(f"/proc/{parent}/stat").read_text().partition(" (")[2].rpartition(")")
        shell = Path(os.environ.get("SHELL") or "/bin/sh").name
        if name == shell[:15]:  # as much as Linux keeps
            parent = int(rest.split()[1]) if rest else parent
    with suppress(OSError):
        # Whoever adopts an orphan is of another session than the one who started it, unless that
        # gave it a session of its own, as torch's launcher of ranks does and DVC does not.
        if os.getsid(0) not in (os.getsid(parent), os.getpid()):
            return None
    return parent


def _end_after(process: int | None) -> None:
    if process is not None:
        _wait_for_end(process)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _wait_for_end(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)  # Linux: told at once, and of this very process
    except ProcessLookupError:
        return
    except (AttributeError, OSError):  # elsewhere, or where the kernel or a sandbox has none
        while _is_alive(process):
            time.sleep(1)
        return
    select.select([descriptor], [], [])


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True
