"""Kills, damage and changes in the middle of the demo; afterwards every byte is as undisturbed.

The moments come from fixed seeds, the machine's speed decides what they hit. For Linux.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from processes import eventually
from project_copies import FEWER_STEPS, Project
from saved import saves, wait_for_saves
from zeroshot_al.base.params import read_yaml

pytestmark = [
    pytest.mark.torture,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and mounts as Linux has them"),
]
N_KILLS = 6  # of each stage
# Seconds of training in each stage that trains, so that the moments differ.
SETTINGS = FEWER_STEPS | {
    "profile": "demo",
    "budget": 560,
    "budgets": [140, 210, 280, 350, 420, 490, 560, 630, 700],
    "seeds": [0, 1],
    "profiles.demo.moco.epochs": 4,
    "profiles.demo.moco.batch_size": 256,
    "profiles.demo.moco.queue_size": 512,
    "profiles.demo.simclr.epochs": 4,
    "profiles.demo.simclr.batch_size": 256,
    "profiles.demo.classifier.steps": 30,
}
TRAINING = ("pretrain_moco", "pretrain_simclr", "train_budget", "baseline_random")
TRAINING += ("baseline_coreset",)
STAGES = ("download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order")
STAGES += (
    "zero_shot_order",
    "annotate",
    "labels",
    "predict",
    "train_budget@140",
    "baseline_random",
    "baseline_coreset",
)
STAGES += ("class_histograms", "learning_curves")
# Put in place as a whole; the other directories are filled file by file.
WHOLE = ("data/pool/", "data/annotate/", "data/labels/", "data/predictions/")
TEMPORARY = re.compile(r"/\.[^/]+\.\d+\.(tmp|old)")


@pytest.fixture(scope="module")
def base(fresh_project) -> Project:
    """Return the demo after an undisturbed run, with a checkpoint at every chance."""
    project = fresh_project("torture")
    # Threads that wait for each other take minutes for seconds of work on a busy machine.
    project = Project(project.root, project.env | {"OMP_NUM_THREADS": "1"})
    (file,) = (project.root / "src").rglob("checkpoint.py")
    text = file.read_text(encoding="utf-8")
    assert text.count("every_s: float = 10.0") == 1
    file.write_text(text.replace("every_s: float = 10.0", "every_s: float = 0.0"), "utf-8")
    project.set_params(SETTINGS)
    project.run("dvc", "repro")
    project.commit()
    return project


@pytest.fixture
def project(base, tmp_path) -> Project:
    return base.copy(tmp_path / "project")


def state(project: Project) -> dict[str, str]:
    """Return the outs' hashes, and dvc.lock as if it were one of them."""
    return project.outs() | {"dvc.lock": (project.root / "dvc.lock").read_text("utf-8")}


def start(project: Project, *command: str) -> subprocess.Popen:
    """Start a command in a session of its own; what it says goes to `said`."""
    # Not into a pipe, which would fill up and stop it; only its end is waited for by the other.
    with open(project.root.parent / "said", "w") as said:
        return subprocess.Popen(
            command,
            cwd=project.root,
            env=project.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )


def said(project: Project) -> str:
    return (project.root.parent / "said").read_text(encoding="utf-8")


def by_dvc(stage: str) -> tuple[str, ...]:
    return ("dvc", "repro", "--force", "--single-item", stage)


def assert_recovers(project: Project, stage: str, expected: dict[str, str]) -> str:
    """Run the stage again, then what DVC takes for stale; return what was said."""
    done = project.call(*by_dvc(stage))
    assert done.returncode == 0, done.stderr
    project.run("dvc", "repro")
    assert state(project) == expected
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_killed_again_and_again(base, project, name):
    expected = state(base)
    stage, *arguments = name.split("@")
    script = (sys.executable, f"src/{stage}.py", *arguments)
    locked = read_yaml(expected["dvc.lock"])["stages"][name]
    outs = tuple(out["path"] for out in locked["outs"])
    started = time.monotonic()
    project.run(*script)
    seconds = time.monotonic() - started
    rng, n_kills, n_continued = random.Random(name), 0, 0
    while n_kills < N_KILLS:
        # All of a DVC, as a power cut does, or the script alone: its workers must notice it.
        everything = rng.random() < 0.3
        process = start(project, *(by_dvc(name) if everything else script))
        n_saves = rng.randrange(3) if stage in TRAINING else 0
        wait_for_saves(process, project.root / ".checkpoints" / stage, n_saves)
        with suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, 0.3 if n_saves else seconds))
        if process.poll() is None:
            (os.killpg if everything else os.kill)(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)  # returns when the workers have ended too
        assert process.returncode in (0, -signal.SIGKILL), said(project)
        n_kills += process.returncode != 0
        n_continued += "continuing at step" in said(project)

        found = {k: v for k, v in project.outs().items() if not TEMPORARY.search(k)}
        assert found.items() <= expected.items()
        missing = expected.keys() - found.keys() - {"dvc.lock"}
        assert all(name.startswith(outs) for name in missing)
        if not everything:  # DVC removes an out file by file
            for directory in WHOLE:
                absent = {name for name in missing if name.startswith(directory)}
                assert absent in (set(), {n for n in expected if n.startswith(directory)})
    n_continued += "continuing at step" in assert_recovers(project, name, expected)
    assert n_continued or stage not in TRAINING


@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGTERM, os.kill),
        (signal.SIGTERM, os.killpg),
        (signal.SIGINT, os.killpg),
        (signal.SIGKILL, os.kill),
    ],
    ids=["SIGTERM to DVC", "SIGTERM to all", "Ctrl-C", "kill -9 of DVC"],
)
def test_dvc_ended_while_workers_train(base, project, number, send):
    stage = "baseline_random"
    process = start(project, *by_dvc(stage))
    wait_for_saves(process, project.root / ".checkpoints" / stage, 1)
    send(process.pid, number)
    process.communicate(timeout=60)  # returns when the workers have ended too
    assert process.returncode != 0
    assert f"{stage}: interrupted; run again to continue" in said(project)
    assert "continuing at step" in assert_recovers(project, stage, state(base))


@pytest.mark.parametrize(
    ("stage", "name", "damage"),
    [
        ("pretrain_simclr", "state.safetensors", "one bit"),
        ("pretrain_simclr", "state.safetensors", "half"),
        ("pretrain_simclr", "history.json", "half"),
        ("baseline_coreset", "chain.json", "half"),
        ("baseline_random", "accuracy.json", "half"),
    ],
)
def test_a_damaged_checkpoint_is_discarded(base, project, stage, name, damage):
    checkpoints = project.root / ".checkpoints" / stage
    process = start(project, *by_dvc(stage))
    wait_for_saves(process, checkpoints, 1, name)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    files = [file for file, _ in saves(checkpoints, name)]
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content if damage == "one bit" else content[: len(content) // 2])
    text = assert_recovers(project, stage, state(base))
    assert "discarding the unreadable checkpoint" in text


def test_a_full_disk_under_the_checkpoints(base, project):
    unshare = ("unshare", "--map-root-user", "--mount")
    if project.call(*unshare, "mount", "-t", "tmpfs", "none", "data").returncode:
        pytest.skip("no file system can be mounted without privileges here")
    (project.root / ".checkpoints").mkdir(exist_ok=True)
    mount = "mount -t tmpfs -o size=64k none .checkpoints"
    done = project.call(
        *unshare, "sh", "-c", f'{mount} && exec "$0" src/pretrain_simclr.py', sys.executable
    )
    assert done.returncode == 1
    assert "pretrain_simclr: the disk is full (.checkpoints/" in done.stderr
    assert "finished work is kept" in done.stderr
    assert state(project) == state(base)


def test_outs_cut_off_in_the_middle_come_back(base, project):
    expected = state(base)
    # Not metrics: git also holds those of budgets that are not the demo's.
    outs = re.compile(r"(data|models|plots)/.*\.(npy|csv|json|safetensors)")
    cut = list(filter(outs.fullmatch, expected))
    assert len(cut) > 10
    for name in cut:
        file = project.root / name
        content = file.read_bytes()
        file.unlink()  # may be a link into DVC's cache
        file.write_bytes(content[: len(content) // 2])
    project.run("dvc", "repro")
    assert state(project) == expected


N_PHOTOS = 1500


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of images that takes a second or two to read."""
    folder, draw = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for i in range(N_PHOTOS):
        pixels = draw.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04}.png", compress_level=1)
    return folder


@pytest.mark.parametrize("change", ["deleted", "replaced", "half overwritten"])
def test_an_image_changed_while_the_folder_is_read(base, photos, tmp_path, change):
    project = base.copy(tmp_path / "project")
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    root = {"profiles.folder.data.root": str(folder), "profiles.folder.data.size_px": 32}
    project.set_params({"profile": "folder"} | root)
    process = start(project, sys.executable, "src/download.py")
    data = project.root / "data"
    assert eventually(lambda: list(data.glob(".pool.*.tmp/images.npy")) or process.poll())
    last = folder / f"{N_PHOTOS - 1:04}.png"
    content = last.read_bytes()
    if change == "deleted":
        last.unlink()
    else:
        other = (folder / "0007.png").read_bytes()
        last.write_bytes(other if change == "replaced" else content[: len(content) // 2])
    process.communicate(timeout=300)
    assert process.returncode == 0, said(project)
    reports = [(data / f"pool/{name}.csv").read_text() for name in ("rejected", "duplicates")]
    assert any(last.name in report for report in reports)
    # The pool is what the folder holds by now.
    found = project.outs()
    assert project.stage("download").returncode == 0
    for name in ("data/pool/images.npy", "data/pool/index.csv"):
        assert found[name] == project.outs()[name]
