"""Ctrl-C, SIGTERM and the end of DVC, each at a moment when it would be lost."""

import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Long enough to remove a half-written array of any size.
GRACE_S = 60.0

_terminates = False  # whether this process answers SIGTERM as it answers Ctrl-C


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the block, and raise them then.

    For the start of worker processes: an exception in one of the hooks that Python runs around a
    fork is printed and dropped, so that a Ctrl-C would be ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled in the main thread alone
        return
    held = []
    numbers = [signal.SIGINT, signal.SIGTERM] if _terminates else [signal.SIGINT]
    handlers = {
        number: signal.signal(number, lambda *arguments: held.append(arguments))
        for number in numbers
    }
    # In a process just forked, until it has a handler of its own; the signal then waits there. In
    # this one other threads may still take the signal, hence the handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers[1:])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers[1:])
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number, frame in held[:1]:
        if callable(handlers[number]):
            handlers[number](number, frame)


def interrupt_on_termination() -> None:
    """Answer SIGTERM as Ctrl-C: by KeyboardInterrupt, so that what is half written is removed.

    Worker processes forked later end at once by SIGTERM, as without this.
    """
    global _terminates
    signal.signal(signal.SIGTERM, _interrupt_once)
    _terminates = True


def _interrupt_once(number: int, frame: object) -> None:
    # A second one, of a group that got the signal and of DVC's end, would break off the removing.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_by_termination() -> None:
    global _terminates
    if _terminates:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _terminates = False
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_end_by_termination)


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
