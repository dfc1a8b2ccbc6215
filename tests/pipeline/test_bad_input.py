"""Bad input through the real stage scripts: one sentence, a failing exit code, old outs untouched.

The sentence holds the value that is wrong and what to do about it. Cases that start torch are few:
each costs seconds.
"""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pools import write_pool
from zeroshot_al.base.files import write_csv, write_json, write_npy
from zeroshot_al.base.pool import Pool

N_TRAIN, N_TEST, CLASSES = 60, 30, ("cat", "dog", "emu")
BUDGETS = [10, 20, 30]
LOG_LINE = re.compile(r"\d\d:\d\d:\d\d ")


@pytest.fixture(scope="module")
def small(fresh_project):
    """Make a project with a whole set of small outs, written by hand, on the demo's profile."""
    project = fresh_project("bad_input")
    project.set_params(
        {
            "profile": "demo",
            "budget": 20,
            "budgets": BUDGETS,
            "profiles.demo.moco.epochs": 1,
            "profiles.demo.moco.batch_size": 16,
            "profiles.demo.simclr.epochs": 1,
            "profiles.demo.simclr.batch_size": 16,
            "profiles.demo.classifier.steps": 3,
        }
    )
    draw = np.random.default_rng(0)
    n = N_TRAIN + N_TEST
    ids = tuple(f"image-{i}" for i in range(n))
    pool = Pool(
        draw.integers(0, 256, (n, 16, 16, 3), dtype=np.uint8),
        ids,
        ("train",) * N_TRAIN + ("test",) * N_TEST,
        tuple(CLASSES[i % 3] for i in range(n)),
    )
    write_pool(pool, project.root / "data/pool")
    orders = project.root / "data/orders"
    picks = [(rank, rank, ids[rank]) for rank in range(N_TRAIN)]
    for method in ("moco", "simclr"):
        embeddings = draw.normal(size=(n, 8)).astype(np.float32)
        write_npy(project.root / f"data/embeddings/{method}.npy", embeddings)
        write_csv(
            orders / f"{method}.csv", ("rank", "index", "id", "radius"), [(*p, 1) for p in picks]
        )
        write_csv(
            project.root / f"data/zero_shot_orders/{method}.csv",
            ("rank", "index", "id", "reason"),
            [(*p, "far") for p in picks],
        )
        (project.root / f"models/{method}").mkdir(parents=True)
        older = project.root / f"models/{method}/{method}.safetensors"
        older.write_bytes(b"an older encoder")
        (project.root / "plots/pretrain").mkdir(parents=True, exist_ok=True)
        (project.root / f"plots/pretrain/{method}.csv").write_text("an older history\n")
    for method in ("random", "coreset"):
        write_csv(
            project.root / f"data/baselines/{method}.csv",
            ("seed", "rank", "index", "id"),
            [(0, *p) for p in picks],
        )
    runs = [{"seed": 0, "accuracy": 0.5}]
    for budget in BUDGETS:
        metrics = project.root / "metrics"
        write_json(metrics / f"train_budget/{budget}.json", {"moco": runs, "simclr": runs})
        write_json(metrics / f"baseline_random/{budget}.json", {"random": runs})
        write_json(metrics / f"baseline_coreset/{budget}.json", {"coreset": runs})
    return project


@pytest.fixture
def project(small, tmp_path):
    return small.copy(tmp_path / "project")


def told(project, stage: str, *arguments: str) -> str:
    """Run a stage that must fail, and return its one sentence."""
    before = project.outs()
    done = project.stage(stage, *arguments)
    assert done.returncode != 0, done.stdout
    assert project.outs() == before
    return the_sentence(done, stage)


def the_sentence(done: subprocess.CompletedProcess, stage: str) -> str:
    """Return the one line of stderr that is no log line."""
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if not LOG_LINE.match(line)]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{stage}: ")
    return lines[0]


def cut(file, keep: float = 0.5) -> None:
    """Truncate a file, as a copy that was broken off."""
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])


@pytest.mark.parametrize(
    ("stage", "changes", "parts"),
    [
        ("download", {"profile": "phone"}, ["'phone'", "demo, folder, gpu, laptop or paper"]),
        ("class_histograms", {"profile": "phone"}, ["'phone'", "gpu, laptop or paper"]),
        ("download", {"profiles.demo.data.source": "mnist"}, ["'mnist'", "cifar10", "folder"]),
        ("download", {"profiles.demo.data.rooot": "x"}, ["'rooot'", "did you mean 'root'"]),
        (
            "download",
            {"defaults.data.source": None, "profiles.demo.data.source": None},
            ["missing key 'source'", "add it"],
        ),
        ("download", {"profiles.demo.mocco": {}}, ["'mocco'", "did you mean 'moco'"]),
        ("download", {"budget": 1401}, ["budget 1401", "pool of 1400", "lower it"]),
        ("class_histograms", {"budgett": 3}, ["'budgett'", "did you mean 'budget'"]),
        ("class_histograms", {"budgets": None}, ["missing key 'budgets'", "add it"]),
        ("class_histograms", {"budget": "many"}, ["'many'", "give it as int"]),
        ("class_histograms", {"budget": 61}, ["budget 61", "pool of 60", "lower it"]),
        ("class_histograms", {"budget": 0}, ["budget 0", "at least 1", "raise it"]),
        ("class_histograms", {"budget": -5}, ["budget -5", "at least 1", "raise it"]),
        ("learning_curves", {"budgets": [20, 10, 30]}, ["[20, 10, 30]", "sort them"]),
        ("learning_curves", {"seeds": [1, 1]}, ["[1, 1]", "distinct"]),
        ("baseline_random", {"budgets": [10, 20, 61]}, ["budget 61", "pool of 60", "lower it"]),
        (
            "pretrain_simclr",
            {"profiles.demo.simclr.learning_rate": 1e30},
            ["the contrastive loss is nan", "lower the learning rate"],
        ),
    ],
)
def test_params(project, stage, changes, parts):
    project.set_params(changes)
    sentence = told(project, stage)
    for part in parts:
        assert part in sentence


def test_a_budget_over_the_pool_is_not_trained(project):
    sentence = told(project, "train_budget", "61")
    assert "budget 61 exceeds the pool of 60; lower it" in sentence


def test_nan_in_the_classifier_stops_every_training(project):
    project.set_params({"profiles.demo.classifier.learning_rate": 1e30})
    sentence = told(project, "train_budget", "20")
    assert re.search(r"loss is (nan|inf) at step 2 with the learning rate .*; lower the", sentence)


def test_nan_in_an_embedding_names_its_row(project):
    file = project.root / "data/embeddings/moco.npy"
    embeddings = np.load(file)
    embeddings[7, 3] = np.nan
    write_npy(file, embeddings)
    sentence = told(project, "kcenter_order")
    assert "row 7 of the embeddings holds NaN" in sentence
    assert "repair" in sentence


@pytest.fixture
def folder(project, tmp_path):
    """Point the profile to a folder of two classes."""
    root = tmp_path / "photos"
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(root / split / label / f"{i}.png")
    project.set_params(
        {"profiles.demo.data.source": "class_folders", "profiles.demo.data.root": str(root)}
    )
    return root


def test_a_class_without_an_image_that_can_be_read_is_named(project, folder):
    for file in (folder / "train/dog").iterdir():
        cut(file)
    sentence = told(project, "download")
    assert f"none of the 3 images in {folder / 'train/dog'} can be read" in sentence
    assert "the first 'train/dog/0.png': a PNG that cannot be read (damaged or trunc" in sentence
    assert sentence.endswith("; replace them")


def test_an_image_of_another_size_is_named(project, folder):
    Image.new("RGB", (8, 9)).save(folder / "train/cat/1.png")
    sentence = told(project, "download")
    first = folder / "test/cat/0.png"
    assert f"{folder / 'train/cat/1.png'} has 8 x 9 pixels and {first} 8 x 8" in sentence
    assert sentence.endswith("; give the working resolution data.size_px")


def test_an_empty_class_folder_is_named(project, folder):
    for file in (folder / "train/cat").iterdir():
        file.unlink()
    sentence = told(project, "download")
    assert f"{folder / 'train/cat'} holds no image; each class needs some there" in sentence


@pytest.mark.parametrize(
    ("stage", "file", "parts"),
    [
        (
            "class_histograms",
            "data/pool/index.csv",
            ["index.csv is not CSV near its line", "again"],
        ),
        ("kcenter_order", "data/pool/images.npy", ["data/pool", "again"]),
        (
            "embed",
            "models/moco/moco.safetensors",
            ["models/moco/moco.safetensors", "make it again"],
        ),
        (
            "learning_curves",
            "metrics/baseline_coreset/20.json",
            ["metrics/baseline_coreset/20.json", "run the stage that writes it"],
        ),
        (
            "kcenter_order",
            "data/embeddings/simclr.npy",
            ["data/embeddings/simclr.npy", "make it again"],
        ),
    ],
)
def test_a_truncated_input_is_named(project, stage, file, parts):
    cut(project.root / file)
    sentence = told(project, stage)
    for part in parts:
        assert part in sentence


def test_a_truncated_order_is_not_drawn(project):
    cut(project.root / "data/orders/moco.csv")
    assert "data/orders/moco.csv" in told(project, "class_histograms")


@pytest.mark.parametrize("last_line", ["", "10"], ids=["at a line's end", "within a line"])
def test_a_truncated_order_is_not_trained_on(project, last_line):
    # Cut behind a line, the order looks whole, but ends before the budget.
    file = project.root / "data/orders/simclr.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:11]) + last_line)
    assert "data/orders/simclr.csv" in told(project, "train_budget", "20")


def on_a_full_disk(project, directory: str, size: str, stage: str) -> str:
    """Run a stage with `directory` on a file system of `size`, and return its sentence.

    Mounted in a mount namespace of its own, which goes away with the process.
    """
    if (
        sys.platform != "linux"
        or project.call(
            "unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", directory
        ).returncode
    ):
        pytest.skip("no small file system can be mounted without privileges here")
    script = (
        'cp -r "$1" kept && mount -t tmpfs -o size="$2" none "$1" && cp -r kept/. "$1" || exit 99\n'
        '"$4" "src/$3.py"; code=$?\n'
        'diff -r kept "$1" && rm -r kept && echo unchanged\n'
        "exit $code"
    )
    done = project.call(
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        directory,
        size,
        stage,
        sys.executable,
    )
    assert done.returncode not in (0, 99), done.stderr
    sentence = the_sentence(done, stage)
    assert done.stdout == "unchanged\n"
    return sentence


def test_a_full_disk_keeps_the_old_pool(project):
    # The pool of digits is 1.4 MB, the one there 0.1.
    sentence = on_a_full_disk(project, "data", "600k", "download")
    assert "the disk is full" in sentence
    assert "free some space" in sentence


def test_a_full_disk_keeps_the_old_encoder(project):
    sentence = on_a_full_disk(project, "models", "64k", "pretrain_simclr")
    assert "the disk is full" in sentence
