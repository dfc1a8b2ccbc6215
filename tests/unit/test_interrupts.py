import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from processes import eventually, is_running

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
        os.register_at_fork(**{"before" if "before" in where else "after_in_parent": interrupt})
        if not os.fork():
            os._exit(0)
    time.sleep(300)

run_stage(main)
"""


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["weakref", "__del__", "before fork", "after fork"])
def test_a_signal_where_python_drops_exceptions_is_not_lost(where, number):
    told = "-c: interrupted; run again to continue, what is finished is kept\n"
    done = run(DROPPED, where, str(int(number)))
    assert (done.returncode, done.stderr) == (1, told)


def test_an_error_that_python_drops_is_shown_as_before():
    code = "class Thing:\n    def __del__(self): 1 / 0\n"
    code += "from zeroshot_al.process.stage import run_stage; run_stage(Thing)"
    shown = run(code).stderr
    assert "Exception ignored in" in shown
    assert "ZeroDivisionError" in shown


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
@pytest.mark.parametrize("how", ["by itself", "in a shell", "in a session of its own"])
def test_a_stage_ends_with_the_dvc_that_runs_it(start, tmp_path, how):
    # Like DVC's, the shell's process stays or is replaced by its one command; torch's launcher
    # gives its ranks a session.
    runner = """
import subprocess, sys
how, *command = sys.argv[1:]
if how == "in a shell":
    command = ["/bin/sh", "-c", '"$@"; true', "sh", *command]
subprocess.run(command, start_new_session=how == "in a session of its own")
"""
    command = (sys.executable, "-c", runner, how, sys.executable)
    process, stage = start(*command, DVC_STAGE="download", SHELL="/bin/sh")
    if how == "in a session of its own":
        time.sleep(2)  # taken for an orphan, it would have ended
        assert is_running(stage)
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
