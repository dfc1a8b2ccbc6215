"""Ranks started by real launchers: what ends them, what is told of it, and what they wait for."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.process import launch
from zeroshot_al.process.heartbeats import LIMIT, silence_limit_s

SRC = Path(__file__).parents[2] / "src"
LIMIT_S = 8  # of silence, while other work may keep the cores busy
STAGE = """
import os, signal, sys, time, weakref
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from zeroshot_al.process.launch import run_shared_stage

def wait_long(ranks):
    wait_s = float(sys.argv[3])
    if ranks.rank:  # a training of its own, while the first one waits for it
        time.sleep(wait_s)
    print(ranks.gather_json(ranks.rank), flush=True)
    if ranks.is_first:  # the files, while the other has ended
        time.sleep(wait_s)
        Path("out").write_text("whole")

def talk(ranks):
    start = time.monotonic()
    while True:
        ranks.gather_json(ranks.rank)
        if time.monotonic() > start + float(sys.argv[3]):
            Path(f"rank{ranks.rank}").touch()
        time.sleep(0.02)

def begin(ranks):
    Path(f"rank{ranks.rank}").touch()
    time.sleep(300)

def fail(ranks):
    raise RuntimeError(sys.argv[3])

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


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "params.yaml").write_text("ranks: 2\n")
    return tmp_path


def environment():
    names = ("RANK", "WORLD_SIZE", launch.LAUNCHER)
    env = {name: value for name, value in os.environ.items() if name not in names}
    return env | {LIMIT: str(LIMIT_S), "OMP_NUM_THREADS": "1"}


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "stage.py", SRC, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_launcher_in_a_callback_is_not_lost(folder, number):
    done = run(folder, "begin", str(int(number)))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("stage: ")]
    assert len(told) == 1
    assert "run again to continue" in told[0]


def test_long_waits_are_not_cut_off(folder):
    done = run(folder, "wait_long", str(LIMIT_S * 1.3))
    assert done.returncode == 0, done.stderr
    assert (folder / "out").read_text() == "whole"


@pytest.mark.parametrize("frozen", [0, 1], ids=["the host of the store", "another host"])
def test_a_host_that_falls_silent_ends_the_others(folder, frozen):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    launchers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--nnodes",
                "2",
                "--max-restarts",
                "0",
                "--rdzv-backend",
                "c10d",
                "--rdzv-endpoint",
                f"localhost:{port}",
                "--rdzv-conf",
                f"is_host={is_first}",
                "--local-addr",
                "localhost",
                "stage.py",
                SRC,
                "talk",
                str(LIMIT_S / 4),
            ],  # until each has heard of the other
            cwd=folder,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for is_first in ("true", "false")
    ]
    hosts = []
    try:
        until = time.monotonic() + 300
        while not ((folder / "rank0").exists() and (folder / "rank1").exists()):
            assert time.monotonic() < until
            assert [launcher.poll() for launcher in launchers] == [None, None]
            time.sleep(0.1)
        for launcher in launchers:
            process = psutil.Process(launcher.pid)
            hosts.append([process, *process.children(recursive=True)])
        for process in hosts[frozen]:
            process.suspend()
        living = launchers[1 - frozen]
        _, stderr = living.communicate(timeout=120)  # ends when its rank has ended too
        assert living.returncode
        told = [line for line in stderr.splitlines() if line.startswith("stage: ")]
        assert len(told) == 1, stderr
        assert f"on {socket.gethostname()} for {LIMIT_S} s" in told[0]
        assert "run again: trainings continue from their last checkpoint" in told[0]
    finally:
        for process in {process for host in hosts for process in host}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for launcher in launchers:
            launcher.kill()
            launcher.communicate()


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_a_limit_that_cannot_be_is_one_sentence(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(InputError, match=f"{LIMIT} is {text}; it must be a positive number"):
        silence_limit_s()


@pytest.mark.parametrize(
    "message",
    [
        "NCCL error in: ProcessGroupNCCL.cpp:1, unhandled system error. Last error:\n"
        "Error while creating shared memory segment /dev/shm/nccl-x: No space left on device",
        # What a lost rank leaves too: then it is all that there is to tell.
        "[gloo/transport/tcp/pair.cc:1] Connection closed by peer [127.0.0.1]:1",
    ],
    ids=["NCCL, /dev/shm", "lost connections alone"],
)
def test_the_error_of_all_ranks_is_told_with_its_traceback(folder, message):
    done = run(folder, "fail", message)
    assert done.returncode == 1
    assert f"RuntimeError: {message}" in done.stderr
    assert done.stderr.count("Traceback") == 1
    last = done.stderr[done.stderr.rindex("\nstage: ") :]
    assert " of 2 failed: RuntimeError: " in last
    assert "once mended, run again: trainings continue from their last checkpoint" in last


def leave(directory, rank, message, time_s, lost=False):
    file = directory / str(rank) / "error.json"
    file.parent.mkdir()
    report = {"message": message, "time_s": time_s, "rank": rank, "is_told": False}
    file.write_text(json.dumps(report | {"is_lost_connection": lost, "traceback": "Traceback"}))


def test_the_cause_is_told_and_not_what_followed(tmp_path):
    leave(tmp_path, 0, "connection lost", 1.0, lost=True)
    leave(tmp_path, 1, "the cause", 2.0)
    leave(tmp_path, 2, "later", 3.0)
    assert launch._cause({0: 1, 1: 1}, tmp_path, 3).startswith("rank 1 of 3 failed: the cause;")


@pytest.mark.parametrize("other", [signal.SIGTERM, signal.SIGABRT])
def test_the_killed_rank_is_told_and_not_those_that_ended_for_it(tmp_path, other):
    told = launch._cause({0: -other, 1: -signal.SIGKILL}, tmp_path, 2)
    assert told.startswith("rank 1 of 2 was killed by signal 9 (SIGKILL")
    assert launch._cause({0: -other}, tmp_path, 2).startswith("rank 0 of 2 was killed")


def test_an_error_file_that_is_not_whole_is_a_silent_rank(tmp_path):
    leave(tmp_path, 0, "connection lost", 1.0, lost=True)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/error.json").write_text('{"message": "cut o')
    told = launch._cause({0: 1, 1: 1}, tmp_path, 2)
    assert told.startswith("rank 1 of 2 ended with exit code 1 and no word; run again")
    assert launch._cause({1: -signal.SIGKILL}, tmp_path, 2).startswith("rank 1 of 2 was killed")


def test_an_error_is_left_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "0/error.json"))
    launch._leave_error(ValueError("no"), 3)
    assert list(tmp_path.iterdir()) == []  # the launcher has gone
    (tmp_path / "0").mkdir()
    launch._leave_error(ValueError("no"), 3)
    assert [file.name for file in (tmp_path / "0").iterdir()] == ["error.json"]
    (left,) = launch._left_errors(tmp_path)
    assert (left["rank"], left["message"]) == (3, "ValueError: no")


@pytest.mark.parametrize(
    ("message", "is_lost"),
    [
        ("[gloo/transport/tcp/pair.cc:5] Read error [::1]:1: Connection reset by peer", True),
        ("NCCL error: remote process exited or there was a network error\nncclRemoteError: ", True),
        ("failed to recv, got 0 bytes. Connection was likely closed. Did the server crash?", True),
        ("NCCL error: unhandled cuda error, out of date driver", False),
    ],
)
def test_what_says_that_another_rank_has_gone(message, is_lost):
    assert (launch._lost_connection(RuntimeError(message)) is not None) == is_lost
    assert launch._lost_connection(ValueError(message)) is None
