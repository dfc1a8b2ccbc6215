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


def by_params(project, stage, *arguments):
    project.set_params({"ranks": 2})
    done = project.stage(stage, *arguments)
    project.set_params({"ranks": 1})
    return done


def by_torchrun(project, stage, *arguments):
    return project.call(sys.executable, *TORCHRUN, f"src/{stage}.py", *arguments)


@pytest.mark.parametrize(
    ("run", "stage"),
    [
        (by_torchrun, ("embed",)),
        (by_params, ("kcenter_order",)),
        (by_params, ("train_budget", "140")),
        pytest.param(by_params, ("baseline_coreset",), marks=pytest.mark.slow),  # as train_budget
    ],
)
def test_what_is_dealt_to_two_ranks_is_the_same_bytes(project, run, stage):
    expected = project.outs()
    done = run(project, *stage)
    assert done.returncode == 0, done.stderr
    assert project.outs() == expected


@pytest.mark.slow  # test_launch has the sentence of a small stage
@pytest.mark.parametrize("run", [by_params, by_torchrun])
def test_what_two_ranks_refuse_is_one_sentence_or_torchruns_report(project, run):
    expected = project.outs()
    project.set_params({"profiles.demo.simclr.batch_size": 511})
    done = run(project, "pretrain_simclr")
    project.set_params({"profiles.demo.simclr.batch_size": 512})
    assert done.returncode == 1
    reason = "batch_size 511 cannot be shared equally by 2 ranks; change ranks or batch_size"
    if run is by_params:
        assert done.stderr.count(f"pretrain_simclr: {reason}") == done.stderr.count(reason) == 1
        assert "Traceback" not in done.stderr
    else:
        assert f"InputError: {reason}" in done.stderr[done.stderr.index("Root Cause") :]
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


def start_and_wait_for_a_save(project):
    """Start pretraining on two ranks; return its process and those of the ranks."""
    process = start(project, "pretrain_simclr")
    wait_for_saves(process, project.root / ".checkpoints/pretrain_simclr", 1)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    return process, ranks


def assert_ended(ranks):
    assert eventually(lambda: not any(map(is_running, ranks)), 60)


@pytest.mark.slow  # test_launch has it of a small stage
@LINUX
def test_what_ends_two_ranks_is_one_sentence_and_one_process_continues(project):
    before = project.outs()
    more = {"profiles.demo.simclr.epochs": 8, "profiles.demo.simclr.batch_size": 128}
    project.set_params(more | {"ranks": 2})

    # Ctrl-C, as a terminal sends it; the ranks have groups of their own.
    process, ranks = start_and_wait_for_a_save(project)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    sentence = "pretrain_simclr: interrupted; run again to continue, what is finished is kept\n"
    assert stderr.count(sentence) == 1, stderr
    assert "Traceback" not in stderr
    assert_ended(ranks)

    # The launcher: its ranks must notice for themselves that it is gone.
    process, ranks = start_and_wait_for_a_save(project)
    process.kill()
    process.communicate(timeout=120)
    assert_ended(ranks)

    process, ranks = start_and_wait_for_a_save(project)
    os.kill(ranks[1], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "continuing at step" in stderr
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if "rank" in line]
    assert "pretrain_simclr: rank 1 of 2 was killed by signal 9 (SIGKILL" in line
    assert "run again: trainings continue from their last checkpoint" in line
    assert_ended(ranks)
    assert project.outs() == before

    project.set_params({"ranks": 1})
    done = project.stage("pretrain_simclr")
    assert done.returncode == 0, done.stderr
    assert "continuing at step" in done.stderr
    rows = (project.root / "plots/pretrain/simclr.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[0]) for row in rows] == list(range(1, 9))
