"""`make repro JOBS=N`: the results of one stage after the other, and nothing left running."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.conftest import BIN, Project
from pipeline.small_pipeline import install_small_pipeline, trace

MAKE = ["make", "repro", "JOBS=2", f"BIN={BIN}"]


@pytest.fixture
def project(fresh_project) -> Project:
    """Return a project that has run none of the small pipeline's stages."""
    project = fresh_project("side_by_side")
    install_small_pipeline(project)
    # The installation is what `make` finds done: the one that the tests run in.
    (project.root / ".venv").mkdir()
    (project.root / ".venv/installed").touch()
    return project


@pytest.fixture
def sequential(project, tmp_path) -> Project:
    """Return the project as `dvc repro` leaves it."""
    sequential = project.copy(tmp_path / "sequential")
    sequential.run("dvc", "repro")
    return sequential


def repro(n_jobs: int, *targets: str) -> list[str]:
    return [sys.executable, "scripts/repro.py", "--jobs", str(n_jobs), *targets]


def running_in(project: Project) -> list[str]:
    """List the processes that work in the project, whoever their parents are."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(project.root) and process.status() != psutil.STATUS_ZOMBIE:
                commands.append(" ".join(process.cmdline()))
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return commands


def test_the_lock_is_that_of_one_stage_after_the_other(project, sequential):
    # Each waits for the other, so that they run at once and `right` is the first in dvc.lock.
    waits = {
        "RIGHT_WAITS": "grep -q 'start left' trace",
        "LEFT_WAITS": "grep -q '^  right:' dvc.lock",
    }
    output = project.run(*repro(2), **waits)
    assert sorted(trace(project)) == sorted(trace(sequential))
    assert (project.root / "dvc.lock").read_bytes() == (sequential.root / "dvc.lock").read_bytes()
    assert project.outs() == sequential.outs()
    assert "left  | Running stage 'left':" in output
    assert "To track the changes" not in output

    before = trace(project)
    assert "Data and pipelines are up to date." in project.run(*repro(2))
    assert trace(project) == before


@pytest.mark.parametrize(
    ("command", "signum", "code", "times", "left_waits"),
    [
        (repro(2), signal.SIGINT, 128 + signal.SIGINT, 1, "sleep 600"),
        # A stage that does not heed the first one.
        (repro(2), signal.SIGINT, 128 + signal.SIGINT, 2, "trap '' INT; sleep 600"),
        (MAKE, signal.SIGTERM, -signal.SIGTERM, 1, "sleep 600"),
    ],
    ids=["Ctrl-C", "Ctrl-C twice", "make, SIGTERM"],
)
def test_interrupted_it_leaves_no_process_and_goes_on(
    project, sequential, command, signum, code, times, left_waits
):
    started = subprocess.Popen(
        command, cwd=project.root, env=project.env | {"LEFT_WAITS": left_waits}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    until = time.monotonic() + 300
    # `left` waits in a process of its own, as a stage's workers are; `right` is in the lock.
    while "right:" not in (
        (project.root / "dvc.lock").read_text() if (project.root / "dvc.lock").exists() else ""
    ) or not any(line.startswith("sleep") for line in running_in(project)):
        assert time.monotonic() < until, trace(project)
        assert started.poll() is None, started.communicate()[0]
        time.sleep(0.1)
    for _ in range(times):
        started.send_signal(signum)
        time.sleep(1)
    output = started.communicate(timeout=120)[0]
    assert started.returncode == code, output
    assert "repro: interrupted; run again to continue" in output
    assert running_in(project) == []

    project.run(*repro(2))
    again = [line for line in trace(project) if line.startswith("start")]
    assert sorted(again) == ["start first", "start last", "start left", "start left", "start right"]
    assert (project.root / "dvc.lock").read_bytes() == (sequential.root / "dvc.lock").read_bytes()
    assert project.outs() == sequential.outs()
    assert list((project.root / ".dvc/tmp").glob("entries-before-*")) == []


def test_a_failing_stage_is_named_and_others_are_let_finish(project):
    # The three seconds are for the failure to be noticed; without them the outcome is the same.
    waits = {"RIGHT_WAITS": "grep -q 'start left' trace && sleep 3"}
    done = project.call(*repro(2), FAILS="left", **waits)
    assert done.returncode == 1
    assert "left  | no luck with left" in done.stdout
    assert "left  | FAILED with exit code" in done.stdout
    assert done.stderr.startswith("repro: failed: left; its message stands above")
    assert trace(project) == ["start first", "end first", *trace(project)[2:4], "end right"]
    lock = (project.root / "dvc.lock").read_text()
    assert "right:" in lock
    assert "left:" not in lock
    # What the run cache holds is not run again.
    (project.root / "data/right").unlink()
    project.run(*repro(2))
    assert trace(project).count("start right") == 1


def test_targets_and_mistakes(project):
    project.run(*MAKE, "TARGETS=right")
    assert trace(project) == ["start first", "end first", "start right", "end right"]
    for arguments, message in [
        (["--jobs", "0"], "repro: --jobs is 0; it must be 1 or more\n"),
        (["--jobs", "2", "wrong"], "repro: "),
    ]:
        done = project.call(sys.executable, "scripts/repro.py", *arguments)
        assert done.returncode == 1
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
    assert "wrong" in done.stderr


def test_a_second_run_beside_the_first_is_one_sentence(project):
    first = subprocess.Popen(
        repro(2), cwd=project.root, env=project.env | {"LEFT_WAITS": "test -e go"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until = time.monotonic() + 300
        while "end right" not in trace(project) or "start left" not in trace(project):
            assert time.monotonic() < until, trace(project)
            assert first.poll() is None, first.communicate()[0]
            time.sleep(0.1)
        second = project.call(*repro(2))
    finally:
        (project.root / "go").touch()
        output = first.communicate(timeout=300)[0]
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1, second.stderr
    assert second.stderr.startswith("repro: another run is at work here (PID ")
    pid = int(second.stderr.partition("PID ")[2].partition(")")[0])
    assert psutil.pid_exists(pid) is False  # it was the first's, which is done by now
    assert first.returncode == 0, output


@pytest.mark.slow
def test_the_demo_s_stages_side_by_side(fresh_project, finished):
    project = fresh_project("demo_side_by_side")
    project.set_params(finished.params())
    project.run(*repro(3))
    assert project.outs() == finished.outs()
    assert (project.root / "dvc.lock").read_bytes() == (finished.root / "dvc.lock").read_bytes()
