"""Stages on several ranks: the same files, one sentence when a rank dies, and no orphan."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from processes import eventually, is_running
from project_copies import FEWER_STEPS
from saved import SAVE_AT_EVERY_CHANCE, wait_for_saves

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
STAGES = (
    ("download",),
    ("pretrain_simclr",),
    ("embed",),
    ("kcenter_order",),
    ("train_budget", "140"),
    ("baseline_coreset",),
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def project(fresh_project):
    """Return a project of small counts, in which the stages up to one budget have run."""
    project = fresh_project("ranks")
    project.set_params(
        FEWER_STEPS
        | {"profile": "demo", "budget": 140, "budgets": [140, 210], "seeds": [0, 1]}
        | {"profiles.demo.moco.active": False}
    )
    for stage, *arguments in (*STAGES[:4], ("zero_shot_order",), *STAGES[4:]):
        done = project.stage(stage, *arguments)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(params=["params.yaml", "torchrun"])
def on_two_ranks(request, project):
    """Return a function that runs a stage's script on two ranks."""
    by_params = request.param == "params.yaml"
    project.set_params({"ranks": 2 if by_params else 1})

    def run(stage, *arguments):
        command = () if by_params else TORCHRUN
        return project.call(sys.executable, *command, f"src/{stage}.py", *arguments)

    yield run
    project.set_params({"ranks": 1})


def test_what_is_dealt_to_two_ranks_is_the_same_bytes(project, on_two_ranks, request):
    expected = project.outs()
    for stage, *arguments in STAGES[4:] if "params.yaml" in request.node.name else STAGES[2:4]:
        done = on_two_ranks(stage, *arguments)
        assert done.returncode == 0, done.stderr
    assert project.outs() == expected


def test_what_two_ranks_refuse_is_one_sentence_or_torchruns_report(project, on_two_ranks, request):
    expected = project.outs()
    project.set_params({"profiles.demo.simclr.batch_size": 511})
    done = on_two_ranks("pretrain_simclr")
    project.set_params({"profiles.demo.simclr.batch_size": 512})
    assert done.returncode == 1
    told = "batch_size 511 cannot be shared equally by 2 ranks; change ranks or batch_size"
    if "params.yaml" in request.node.name:
        assert done.stderr.count(f"pretrain_simclr: {told}") == done.stderr.count(told) == 1
        assert "Traceback" not in done.stderr
    else:
        assert f"InputError: {told}" in done.stderr[done.stderr.index("Root Cause") :]
    assert project.outs() == expected


def start(project, stage):
    return subprocess.Popen(
        [sys.executable, "-c", SAVE_AT_EVERY_CHANCE, f"src/{stage}.py"],
        cwd=project.root,
        env=project.env,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ranks_of(process):
    """Return the process ids of the ranks, by rank."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        words = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        environment = dict(word.split(b"=", 1) for word in words if b"=" in word)
        if b"RANK" in environment:
            found[int(environment[b"RANK"])] = child
    return [found[rank] for rank in sorted(found)]


@LINUX
def test_ctrl_c_ends_the_ranks_of_a_stage_with_one_sentence(project):
    before = project.outs()
    project.set_params({"profiles.demo.simclr.epochs": 30, "ranks": 2})
    process = start(project, "pretrain_simclr")
    wait_for_saves(process, project.root / ".checkpoints/pretrain_simclr", 1)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    # As a terminal does; the ranks have groups of their own.
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    project.set_params({"profiles.demo.simclr.epochs": FEWER_STEPS["profiles.demo.simclr.epochs"]})
    project.set_params({"ranks": 1})
    assert process.returncode == 1
    told = "pretrain_simclr: interrupted; run again to continue, what is finished is kept\n"
    assert stderr.count(told) == 1, stderr
    assert "Traceback" not in stderr
    assert eventually(lambda: not any(map(is_running, ranks)), 60)
    assert project.outs() == before


@LINUX
def test_a_killed_rank_is_one_sentence_and_one_process_continues(project):
    out = project.root / "models/simclr/simclr.safetensors"
    before = out.read_bytes()
    more = {"profiles.demo.simclr.epochs": 8, "profiles.demo.simclr.batch_size": 128}
    project.set_params(more | {"ranks": 2})

    # The launcher first: its ranks must notice for themselves that it is gone.
    process = start(project, "pretrain_simclr")
    wait_for_saves(process, project.root / ".checkpoints/pretrain_simclr", 1)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    process.kill()
    process.communicate(timeout=120)
    assert eventually(lambda: not any(map(is_running, ranks)), 60)

    process = start(project, "pretrain_simclr")
    wait_for_saves(process, project.root / ".checkpoints/pretrain_simclr", 1)
    ranks = ranks_of(process)
    os.kill(ranks[1], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "continuing at step" in stderr
    assert "Traceback" not in stderr
    told = [line for line in stderr.splitlines() if "rank" in line]
    assert len(told) == 1
    assert "pretrain_simclr: rank 1 of 2 was killed by signal 9 (SIGKILL" in told[0]
    assert "run again: trainings continue from their last checkpoint" in told[0]
    assert eventually(lambda: not any(map(is_running, ranks)), 60)
    assert out.read_bytes() == before

    project.set_params({"ranks": 1, "profiles.demo.simclr.epochs": 8})
    done = project.stage("pretrain_simclr")
    assert done.returncode == 0, done.stderr
    assert "continuing at step" in done.stderr
    rows = (project.root / "plots/pretrain/simclr.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 9))
