"""Twenty kill -9 at random moments of the stages that train: the files come out the same."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from saved import wait_for_saves

# Runs a stage's script with a checkpoint at every chance, rather than every ten seconds.
SAVE_AT_EVERY_CHANCE = """
import runpy, sys
sys.path.insert(0, "src")
from zeroshot_al.engine.checkpoint import Checkpoint
Checkpoint.__init__.__defaults__ = (0.0,)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
N_KILLS = 5
# Long enough for the moments to differ: seconds of training after seconds of imports.
MORE_STEPS = {
    "profiles.demo.moco.epochs": 6,
    "profiles.demo.moco.batch_size": 128,
    "profiles.demo.moco.queue_size": 512,
    "profiles.demo.simclr.epochs": 6,
    "profiles.demo.simclr.batch_size": 128,
    "profiles.demo.classifier.steps": 30,
}


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    copy = finished.copy(tmp_path_factory.mktemp("kills") / "project")
    copy.set_params(MORE_STEPS)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "arguments", "out"),
    [
        ("pretrain_moco", [], "models/moco.safetensors"),
        ("pretrain_simclr", [], "models/simclr.safetensors"),
        ("train_budget", ["140"], "metrics/train_budget/140.json"),
        ("baseline_coreset", [], "data/baselines/coreset.csv"),
    ],
)
def test_kills_at_random_moments_leave_the_same_bytes(project, stage, arguments, out, tmp_path):
    done = project.stage(stage, *arguments)
    assert done.returncode == 0, done.stderr
    expected = project.outs()
    rng, n_kills, n_continued = random.Random(stage), 0, 0
    said = tmp_path / "said"
    while n_kills < N_KILLS:
        (project.root / out).unlink(missing_ok=True)
        # Into a file: a pipe that nobody reads meanwhile would fill up, and stop it.
        with open(said, "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", SAVE_AT_EVERY_CHANCE, f"src/{stage}.py", *arguments],
                cwd=project.root, env=project.env, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        # Not by the clock alone: on a busy machine every moment would lie in the imports.
        wait_for_saves(process, project.root / ".checkpoints" / stage, rng.randrange(3))
        time.sleep(rng.uniform(0, 0.3))
        if process.poll() is None:
            # The script alone: its workers must notice for themselves that it is gone.
            os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=300)  # ends when the workers have ended too
        n_kills += process.returncode == -signal.SIGKILL
        n_continued += "continuing at step" in said.read_text()
    (project.root / out).unlink(missing_ok=True)
    done = project.stage(stage, *arguments)
    assert done.returncode == 0, done.stderr
    assert project.outs() == expected
    assert n_continued or "continuing at step" in done.stderr
