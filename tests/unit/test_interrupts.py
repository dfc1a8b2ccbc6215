import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from processes import eventually, is_running
from zeroshot_al.process import interrupts

SRC = Path(__file__).parents[2] / "src"


DROPPED = """
import os, signal, sys, time, weakref
from concurrent.futures import ProcessPoolExecutor
from zeroshot_al.process.stage import run_stage

where, number, stage = sys.argv[1], int(sys.argv[2]), os.getpid()

class Thing:
    def __del__(self):
        interrupt("__del__")

def interrupt(here=where):
    if here == where and os.getpid() == stage:
        signal.raise_signal(number)

def main():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: interrupt("weakref"))
    del thing
    if where.endswith("fork"):
        os.register_at_fork(**{
            "before fork": {"before": interrupt},
            "after fork": {"after_in_parent": interrupt},
        }[where])
        if not os.fork():
            os._exit(0)
    time.sleep(300)

run_stage(main)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["weakref", "__del__", "before fork", "after fork"])
def test_a_signal_where_python_drops_exceptions_is_not_lost(where, number):
    done = subprocess.run(
        [sys.executable, "-c", DROPPED, where, str(int(number))],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "-c: interrupted; run again to continue, what is finished is kept\n"


def test_an_error_that_python_drops_is_shown_as_before():
    code = "import os\nclass Thing:\n    def __del__(self): 1 / 0\n"
    code += "from zeroshot_al.process.stage import run_stage; run_stage(Thing)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Exception ignored in" in done.stderr
    assert "ZeroDivisionError" in done.stderr


STAGE = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, "src")
from zeroshot_al.base.files import replaced_directory
from zeroshot_al.process.stage import run_stage

def main(folder):
    with replaced_directory(folder / "pool") as directory:
        directory.mkdir()
        (folder / "stage").write_text(str(os.getpid()))
        time.sleep(300)

run_stage(main, Path(sys.argv[1]))
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a stage by `command ... script folder`, and waits for it."""
    started = []
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    (tmp_path / "out").mkdir()

    def run(*command, **env):
        process = subprocess.Popen(
            [*command, script, tmp_path / "out"],
            env=os.environ | env,
            text=True,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        started.append(process)
        file = tmp_path / "out/stage"
        assert eventually(
            lambda: (file.exists() and file.read_text()) or process.poll() is not None
        )
        assert process.poll() is None
        return process, int(file.read_text())

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_sigterm_removes_what_is_half_written(start, tmp_path):
    process, _ = start(sys.executable)
    assert list((tmp_path / "out").glob(".pool.*.tmp"))
    process.terminate()
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "interrupted; run again to continue" in stderr
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["stage"]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("shell", [False, True], ids=["by itself", "in a shell"])
def test_a_stage_ends_with_the_dvc_that_runs_it(start, tmp_path, shell):
    # Like DVC's, the shell's process stays or is replaced by its one command.
    runner = (
        "import subprocess, sys; "
        "subprocess.run(sys.argv[2:] if not int(sys.argv[1]) else "
        "['/bin/sh', '-c', '\"$@\"; true', 'sh', *sys.argv[2:]])"
    )
    process, stage = start(
        sys.executable,
        "-c",
        runner,
        str(int(shell)),
        sys.executable,
        DVC_STAGE="download",
        SHELL="/bin/sh",
    )
    process.kill()  # the runner alone
    _, stderr = process.communicate(timeout=120)  # ends when the stage has ended too
    assert "interrupted" in stderr
    assert not is_running(stage)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["stage"]


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted otherwise elsewhere")
def test_a_stage_whose_dvc_is_gone_already_does_not_begin(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(STAGE)
    # The shell ends at once, and its child is adopted by a process of another session.
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@" &', "sh", sys.executable, script, tmp_path],
        env=os.environ | {"DVC_STAGE": "download"},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "interrupted" in done.stderr


def watched_by(pid):
    """Return the processes whose end a process waits for; none of one that has ended."""
    with contextlib.suppress(OSError):
        told = [file.read_text() for file in Path(f"/proc/{pid}/fdinfo").iterdir()]
        lines = [line.split() for text in told for line in text.splitlines()]
        return {int(words[1]) for words in lines if words[0] == "Pid:"}
    return set()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_session_of_its_own_makes_no_orphan(start):
    # As torch's launcher starts its ranks.
    process, stage = start(sys.executable, DVC_STAGE="download")
    assert process.pid == stage
    # Taken for an orphan, it would end without waiting for anybody.
    assert eventually(lambda: watched_by(stage) or process.poll() is not None)
    assert watched_by(stage) == {os.getpid()}


def without_pidfd(process):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


def test_without_pidfd_the_end_of_a_process_that_is_no_parent_is_noticed(monkeypatch):
    monkeypatch.setattr(os, "pidfd_open", without_pidfd, raising=False)
    # The grandparent of a stage, say, as DVC is of one that a shell runs.
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    waiting = threading.Thread(target=interrupts._wait_for_end, args=(other.pid,), daemon=True)
    waiting.start()
    waiting.join(timeout=1.5)
    assert waiting.is_alive()
    other.communicate()
    waiting.join(timeout=60)
    assert not waiting.is_alive()


def test_without_pidfd_a_process_of_another_user_is_alive(monkeypatch):
    def kill(process, number):
        answers = [PermissionError, ProcessLookupError]
        asked.append(number)
        raise answers[len(asked) - 1]

    asked = []
    monkeypatch.setattr(os, "pidfd_open", without_pidfd, raising=False)
    monkeypatch.setattr(os, "kill", kill)
    interrupts._wait_for_end(1)
    assert asked == [0, 0]
