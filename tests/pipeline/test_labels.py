"""Labels of the picks brought back through the real stage scripts, from a folder to accuracies."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from zeroshot_al.base.files import read_csv, write_npy
from zeroshot_al.base.pool import load_pool

N_IMAGES, BUDGET, SIDE = 60, 40, 16
CLASSES = ("blue", "red")


def make_photos(root, n_images, seed, by_class=False):
    """Write noisy images, blue or red; return the class of each by its path."""
    draw = np.random.default_rng(seed)
    class_of = {}
    for number in range(n_images):
        label = CLASSES[number % 2]
        pixels = draw.integers(0, 120, (SIDE, SIDE + number % 3, 3), dtype=np.uint8)
        pixels[..., 2 if label == "blue" else 0] += 130
        name = f"{label}/{number}.png" if by_class else f"{number:03d}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)
        class_of[name] = label
    return class_of


@pytest.fixture(scope="module")
def annotated(fresh_project, tmp_path_factory):
    """Run a folder without labels up to data/annotate; its pixels stand in for embeddings."""
    project, root = fresh_project("labels"), tmp_path_factory.mktemp("labels") / "photos"
    class_of = make_photos(root, N_IMAGES, seed=0)
    settings = {
        "data.root": str(root),
        "data.size_px": SIDE,
        "order.method": "simclr",
        "annotate.n_random": 2,
        "annotate.n_clusters": 2,
        "annotate.map_points": 60,
        "classifier.steps": 30,
        "classifier.width": 1,
        "classifier.warmup_steps": 2,
        "classifier.batch_size": 32,
        "classifier.crop_px": SIDE,
        "classifier.pad_px": 1,
        "classifier.cutout_px": 4,
    }
    project.set_params(
        {"profile": "folder", "budget": BUDGET, "seeds": [0]}
        | {f"profiles.folder.{key}": value for key, value in settings.items()}
    )
    stage(project, "download")
    images = load_pool(project.root / "data/pool").images
    rows = images.reshape(len(images), -1).astype(np.float32) / 255 - 0.4
    # MoCo's order is another one: fewer of its first picks will have a label.
    write_npy(project.root / "data/embeddings/simclr.npy", rows)
    write_npy(project.root / "data/embeddings/moco.npy", np.roll(rows, 7, axis=0))
    for name in ("kcenter_order", "zero_shot_order", "annotate"):
        stage(project, name)
    return project, root, class_of


def stage(project, *command):
    done = project.stage(*command)
    assert done.returncode == 0, done.stderr
    return done.stderr


def label(project, root, class_of, n_labels, path):
    """Fill in the column `label` of order.csv."""
    with open(project.root / "data/annotate/order.csv", newline="", encoding="utf-8-sig") as file:
        rows = [row | {"label": class_of[row["id"]]} for row in csv.DictReader(file)][:n_labels]
    save(path, rows)
    project.set_params({"profiles.folder.labels.file": str(path)})
    return rows


def save(path, rows):
    """Save a table as Excel does where numbers have a decimal comma."""
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def metrics(project, budget):
    return json.loads((project.root / f"metrics/train_budget/{budget}.json").read_text())


def test_labels_of_all_picks_train_a_classifier(annotated, tmp_path):
    project = annotated[0].copy(tmp_path / "project")
    label(project, *annotated[1:], BUDGET, tmp_path / "labels.csv")
    log = stage(project, "labels")
    assert "40 usable labels: " in log
    assert "the test: 8 held-out labels" in log
    assert "report.csv: nothing" in log
    log = stage(project, "train_budget", str(BUDGET))
    assert "trained on 32 labels, tested on 8 held-out labels" in log
    assert f"of the first {BUDGET} picks of data/orders/moco.csv have a label; not trained" in log
    found = metrics(project, BUDGET)
    # Annotated were the first picks of the recommended order.
    assert (found["moco"], found["simclr"]) == ([], [])
    (run,) = found["simclr_zero_shot"]
    assert (run["trained_on"], run["tested_on"]) == (32, "8 held-out labels")
    assert 0.5 < run["accuracy"] <= 1


def test_a_test_folder_and_labels_with_every_problem(annotated, tmp_path):
    project = annotated[0].copy(tmp_path / "project")
    table = tmp_path / "labels.csv"
    rows = label(project, *annotated[1:], 30, table)
    order = [row["id"] for row in rows]
    rows[3]["label"] = ""
    rows[5]["label"] = "green"
    other = {"red": "blue", "blue": "red"}[rows[1]["label"]]
    rows += [rows[0], rows[1] | {"label": other}, rows[0] | {"id": "gone.png"}]
    save(table, [{"path": row["id"], "label": row["label"]} for row in rows])
    tests = tmp_path / "tests"
    make_photos(tests, 20, seed=1, by_class=True)
    project.set_params({"profiles.folder.labels.test_root": str(tests)})
    stage(project, "labels")
    report = read_csv(project.root / "data/labels/report.csv", ["id", "problem", "detail"])
    assert [(row["id"], row["problem"]) for row in report] == [
        ("gone.png", "unknown id"),
        (order[5], "unknown class"),
        (order[1], "conflict"),
        (order[0], "repeated"),
        (order[1], "missing"),
        (order[3], "missing"),
        (order[5], "missing"),
    ]
    log = stage(project, "train_budget", str(BUDGET))
    assert f"27 of the first {BUDGET} picks of data/zero_shot_orders/simclr.csv have a label" in log
    assert "rank 1 is the first without" in log
    assert metrics(project, BUDGET) == {"moco": [], "simclr": [], "simclr_zero_shot": []}
    label(project, *annotated[1:], 30, table)
    stage(project, "labels")
    log = stage(project, "train_budget", "30")
    assert f"trained on 30 labels, tested on 20 images of {tests}" in log
    assert metrics(project, 30)["simclr_zero_shot"][0]["tested_on"] == f"20 images of {tests}"


def test_without_a_file_the_stage_asks_for_it(annotated, tmp_path):
    done = annotated[0].stage("labels")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "labels: the pool has no labels of its own, and labels.file is not set; set it to"
    )
    assert not (annotated[0].root / "data/labels").exists()
