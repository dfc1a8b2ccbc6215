"""Rounds of labelling through the real stage scripts: picks, labels of a part, the next picks."""

import csv
import sys

import numpy as np
import pytest
from PIL import Image

from browser import Tab, needs_browser
from zeroshot_al.base.files import read_csv, write_npy
from zeroshot_al.base.pool import HEADER, load_pool
from zeroshot_al.rounds import BATCH_HEADER, read_labelled

N_IMAGES, BUDGET, SIDE = 60, 20, 16
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
        "annotate.n_random": 2,
        "annotate.n_clusters": 2,
        "annotate.map_points": 60,
    }
    project.set_params(
        {"profile": "folder", "budget": BUDGET}
        | {f"profiles.folder.{key}": value for key, value in settings.items()}
    )
    stage(project, "download")
    images = load_pool(project.root / "data/pool").images
    rows = images.reshape(len(images), -1).astype(np.float32) / 255 - 0.4
    write_npy(project.root / "data/embeddings/simclr.npy", rows)
    stage(project, "kcenter_order")
    next_batch(project)
    return project, root, class_of


@pytest.fixture
def project(annotated, tmp_path):
    return annotated[0].copy(tmp_path / "project")


def stage(project, *command):
    done = project.stage(*command)
    assert done.returncode == 0, done.stderr
    return done.stderr


def next_batch(project):
    """Do what `make annotate` does, and return the ids and reasons of the picks by rank."""
    log = stage(project, "labels")
    log += project.run(sys.executable, "scripts/close_batch.py")
    for name in ("zero_shot_order", "annotate"):
        stage(project, name)
    return log, {row["id"]: row["reason"] for row in picks(project)}


def picks(project):
    with open(project.root / "data/annotate/order.csv", newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def save(path, rows):
    """Save a table as Excel does where numbers have a decimal comma."""
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def bring_back(project, path, rows):
    save(path, rows)
    project.set_params({"profiles.folder.labels.file": str(path)})


@pytest.mark.parametrize("rule", ["zero_shot", "kcenter"])
def test_batches_are_disjoint_and_end_with_the_pool(project, annotated, tmp_path, rule):
    class_of = annotated[2]
    project.set_params({"rule": rule})
    log, first = next_batch(project)
    assert "batches" not in log
    assert [rank for rank, reason in enumerate(first.values()) if reason == "random"] == [9, 19]
    # Nothing came back: the same batch again, or a longer one that begins with it.
    project.set_params({"budget": 25})
    assert list(next_batch(project)[1])[:BUDGET] == list(first)
    project.set_params({"budget": BUDGET})
    next_batch(project)
    # Half of the labels come back, and one of an image that was not given out.
    other = min(class_of.keys() - first.keys())
    labelled = [*list(first)[: BUDGET // 2], other]
    bring_back(project, tmp_path / "a.csv", [{"id": x, "label": class_of[x]} for x in labelled])
    log, second = next_batch(project)
    told = (
        f"batches/1.csv: 10 of these {BUDGET} images are labelled; labels of the others can still"
    )
    assert told in log
    batch = read_csv(project.root / "batches/1.csv", BATCH_HEADER)
    assert {row["id"]: row["reason"] for row in batch} == first
    assert not second.keys() & {*first, other}
    # Labels of the first batch that come late do not end the second, and nothing is told twice.
    bring_back(project, tmp_path / "a.csv", [{"id": x, "label": class_of[x]} for x in first])
    log, again = next_batch(project)
    assert "batches" not in log
    assert not again.keys() & first.keys()
    # Two files; then all that is left, and after that nothing.
    save(tmp_path / "b.csv", [{"id": x, "label": class_of[x]} for x in again])
    files = f"{tmp_path}/a.csv {tmp_path}/b.csv"
    project.set_params({"profiles.folder.labels.file": files, "budget": N_IMAGES - 2 * BUDGET})
    third = next_batch(project)[1]
    assert sorted([*first, *again, *third]) == sorted(class_of)
    save(tmp_path / "b.csv", [{"id": x, "label": class_of[x]} for x in (*again, *third)])
    stage(project, "labels")
    before = project.outs()
    last = {"zero_shot": "zero_shot_order", "kcenter": "annotate"}[rule]
    done = project.stage(last)
    assert done.returncode == 1
    assert {
        "zero_shot": f"all {N_IMAGES} images are labelled or were given out; nothing is left",
        "kcenter": "budget 20 exceeds the 0 picks left of data/orders/simclr.csv",
    }[rule] in done.stderr.splitlines()[-1]
    assert project.outs() == before


@needs_browser
def test_batches_are_labelled_in_the_page(browser, project, annotated, tmp_path):
    class_of, files, given = annotated[2], [], {}
    for batch in (1, 2):
        tab = Tab(browser.new_context(), project.root / "data/annotate/label.html")
        shown = tab.page.locator("#stage img")
        if batch == 1:  # the second page knows the classes
            for _ in CLASSES:
                tab.page.fill("#name", class_of[shown.get_attribute("alt")])
                tab.press("Enter")
        keys = {
            text.split("\n")[1]: text[0]
            for text in tab.page.locator("#classes li").all_inner_texts()
        }
        while shown.count():
            tab.press(keys[class_of[shown.get_attribute("alt")]])
        files.append(tab.download("#download", tmp_path))
        tab.check()
        given |= {row["id"]: class_of[row["id"]] for row in picks(project)}
        project.set_params({"profiles.folder.labels.file": " ".join(map(str, files))})
        next_batch(project)
        found = read_csv(project.root / "data/labels/labels.csv", HEADER)
        assert {row["id"]: row["label"] for row in found} == given
        assert len(given) == batch * BUDGET
    assert [file.name for file in files] == ["labels_1.csv", "labels_2.csv"]


def test_a_test_folder_and_labels_with_every_problem(project, annotated, tmp_path):
    class_of = annotated[2]
    table = tmp_path / "labels.csv"
    rows = [row | {"label": f" {class_of[row['id']]}"} for row in picks(project)]
    order = [row["id"] for row in rows]
    rows[3]["label"] = " "
    rows[5]["label"] = "Red "
    other = {"red": "blue", "blue": "red"}[rows[1]["label"].strip()]
    rows += [rows[0], rows[1] | {"label": other}, rows[0] | {"id": "gone.png"}]
    bring_back(project, table, [{"path": row["id"], "label": row["label"]} for row in rows])
    tests = tmp_path / "tests"
    test_class_of = make_photos(tests, 20, seed=1, by_class=True)
    project.set_params({"profiles.folder.labels.test_root": str(tests)})
    assert "report.csv: 1 unknown id, 1 unknown class, 1 conflict, 1 repeated" in stage(
        project, "labels"
    )
    report = read_csv(project.root / "data/labels/report.csv", ["id", "problem", "detail"])
    assert [(row["id"], row["problem"]) for row in report] == [
        ("gone.png", "unknown id"),
        (order[5], "unknown class"),
        (order[1], "conflict"),
        (order[0], "repeated"),
    ]
    assert "'Red'; there is 'red'" in report[1]["detail"]
    found = read_csv(project.root / "data/labels/labels.csv", HEADER)
    train = {row["id"]: row["label"] for row in found if row["split"] == "train"}
    assert train == {name: class_of[name] for name in order if name not in {*order[1:6:2]}}
    assert {row["id"]: row["label"] for row in found if row["split"] == "test"} == test_class_of
    assert np.load(project.root / "data/labels/test_images.npy").shape == (20, SIDE, SIDE, 3)
    assert sorted(read_labelled(project.root / "data/labels")) == sorted(train)


def test_a_pool_with_labels_takes_no_others(project):
    project.set_params({"profile": "demo", "profiles.demo.labels.labelled": "done.txt"})
    stage(project, "download")
    done = project.stage("labels")
    assert done.returncode == 1
    assert "the pool has labels of its own; set labels.file, labels.labelled" in done.stderr
