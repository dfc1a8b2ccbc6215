"""Ranks started by a real launcher: what ends them, and what is reported of it."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from forked_stage import run_forked
from processes import is_running
from zeroshot_al.process import launch

SRC = Path(__file__).parents[2] / "src"
STAGE = """
import os, signal, sys, time, weakref
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from zeroshot_al.base.errors import InputError
from zeroshot_al.process.launch import run_shared_stage

def begin(ranks):
    Path(f"rank{ranks.rank}").write_text(str(os.getpid()))
    time.sleep(300)

def fail(ranks):
    raise RuntimeError(sys.argv[3])

def refuse(ranks):
    raise InputError(sys.argv[3])

class Thing:
    pass

def interrupt_in_a_callback(*_):
    if not (Path("rank0").exists() and Path("rank1").exists()):
        signal.alarm(1)
        return
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(int(sys.argv[3])))
    del thing

if __name__ == "__main__":
    if sys.argv[2] == "begin" and "RANK" not in os.environ:
        signal.signal(signal.SIGALRM, interrupt_in_a_callback)
        signal.alarm(1)
    run_shared_stage(globals()[sys.argv[2]])
"""


LOST = (
    "RuntimeError: [gloo/transport/tcp/pair.cc:5] Read error [::1]:1: Connection reset by peer",
    "DistBackendError: NCCL error: there was a network error\nncclRemoteError: ",
    "DistNetworkError: failed to recv, got 0 bytes. Connection was likely closed. Did it crash?",
)
FULL = (
    "NCCL error in: ProcessGroupNCCL.cpp:1, unhandled system error. Last error:\n"
    "Error while creating shared memory segment /dev/shm/nccl-x: No space left on device"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("ranks: 2\n")
    return tmp_path


def run(folder, *arguments):
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return run_forked(folder, "stage.py", (str(SRC), *arguments), env, ours=True)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM]
)
def test_a_signal_to_the_launcher_in_a_callback_ends_it_and_its_ranks(folder, number):
    done = run(folder, "begin", str(int(number)))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("stage: interrupted; run again to continue, what is finished is") == 1
    ranks = [int((folder / f"rank{rank}").read_text()) for rank in range(2)]
    assert not any(map(is_running, ranks))


def test_the_error_of_all_ranks_is_reported_with_its_traceback(folder):
    done = run(folder, "fail", FULL)
    assert done.returncode == 1
    assert f"RuntimeError: {FULL}" in done.stderr
    assert done.stderr.count("Traceback") == 1
    last = done.stderr[done.stderr.rindex("\nstage: ") :]
    assert " of 2 failed: RuntimeError: " in last
    assert "once mended, run again: trainings continue from their last checkpoint" in last


def test_what_all_ranks_refuse_is_one_sentence(folder):
    done = run(folder, "refuse", "7 exceeds 5; lower it")
    assert (done.returncode, done.stderr) == (1, "stage: 7 exceeds 5; lower it\n")


def failure(directory, exitcode, message=None, timestamp=1):
    """Return what torch makes of a rank's end, and of the file that its error was left in."""
    file = directory / f"{exitcode} {message}.json".replace("/", "")
    if message:
        extra = {"py_callstack": "Traceback", "timestamp": str(timestamp)}
        file.write_text(json.dumps({"message": {"message": message, "extraInfo": extra}}))
    return ProcessFailure(0, 1, exitcode, str(file))


@pytest.mark.parametrize("lost", LOST)
def test_the_cause_is_reported_and_not_what_followed(tmp_path, lost):
    cause = "RuntimeError: NCCL error: unhandled cuda error, out of date driver"
    ended = {
        0: failure(tmp_path, 1, lost, 1),
        1: failure(tmp_path, 1, cause, 2),
        2: failure(tmp_path, 1, "ValueError: later", 3),
    }
    assert launch._cause(ended, 3).startswith(f"rank 1 of 3 failed: {cause};")


@pytest.mark.parametrize("other", [-signal.SIGTERM, -signal.SIGABRT, 1])
def test_the_killed_rank_is_reported_and_not_those_that_ended_for_it(tmp_path, other):
    killed = failure(tmp_path, -signal.SIGKILL)
    ended = {0: failure(tmp_path, other, LOST[0] if other == 1 else None), 1: killed}
    assert launch._cause(ended, 2).startswith("rank 1 of 2 was killed by signal 9 (SIGKILL, as")
    aborted = {0: failure(tmp_path, -signal.SIGABRT)}
    assert launch._cause(aborted, 2).startswith("rank 0 of 2 was killed by signal 6 (SIGABRT)")


def test_a_rank_that_leaves_no_error_is_the_cause(tmp_path):
    ended = {0: failure(tmp_path, 1, LOST[0]), 1: failure(tmp_path, 3)}
    message = launch._cause(ended, 2)
    assert message.startswith("rank 1 of 2 ended with exit code 3 and no error; run again")


@pytest.mark.parametrize("lost", LOST)
def test_lost_connections_are_reported_when_there_is_nothing_else(tmp_path, lost):
    ended = {rank: failure(tmp_path, 1, lost, rank) for rank in range(2)}
    message = launch._cause(ended, 2)
    assert message.startswith(f"rank 0 of 2 failed: {lost}; once mended, run again")
