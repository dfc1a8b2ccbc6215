"""The user's own images through the real stage scripts: a hostile folder, and what it becomes."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from hostile import SIDE, make_hostile_folder, photo
from zeroshot_al.base.files import read_csv, write_npy
from zeroshot_al.base.pool import load_pool
from zeroshot_al.coverage import zero_shot_order
from zeroshot_al.orders import REASON_HEADER
from zeroshot_al.sources.decode import decode
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams

SETTINGS = {"profile": "folder", "budget": 5, "profiles.folder.data.size_px": 16}


@pytest.fixture(scope="module")
def hostile(fresh_project, tmp_path_factory):
    """Run download on a hostile folder once; return the project, the root and what was due."""
    project = fresh_project("hostile")
    root = tmp_path_factory.mktemp("hostile") / "photos"
    due = make_hostile_folder(root)
    project.set_params(SETTINGS | {"profiles.folder.data.root": str(root)})
    before = snapshot(root.parent)
    done = project.stage("download")
    assert done.returncode == 0, done.stderr
    assert snapshot(root.parent) == before
    return project, root, *due, done.stderr


def snapshot(root):
    """Describe every entry below a folder: its kind, times of change, and content."""
    found = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in (*folders, *files):
            status = os.lstat(folder + b"/" + name)
            found[folder, name] = (
                status.st_mode,
                status.st_mtime_ns,
                status.st_ctime_ns,
                status.st_size,
            )
    return found


def rows_of(project, name):
    with open(project.root / "data/pool" / name, newline="", encoding="utf-8-sig") as file:
        return list(csv.reader(file))


def test_the_rejected_files_are_listed_with_their_reasons(hostile):
    project, _, kept, rejected, copies, _ = hostile
    assert len(kept) + len(rejected) + len(copies) > 90
    header, *rows = rows_of(project, "rejected.csv")
    assert header == ["id", "reason"]
    assert [name for name, _ in rows] == sorted(rejected)
    for name, reason in rows:
        assert reason.startswith(rejected[name]), name


def test_every_other_image_is_in_the_pool_once(hostile):
    project, root, kept, _, copies, _ = hostile
    pool = load_pool(project.root / "data/pool")
    assert set(pool.ids) == kept
    assert (pool.n_train, pool.is_labelled, pool.classes) == (len(kept), False, ())
    for name, image in zip(pool.ids, pool.images, strict=True):
        assert np.array_equal(image, decode(root / name, 16).pixels), name
    _, *rows = rows_of(project, "duplicates.csv")
    assert {(a, b) for a, b, kind, _ in rows if kind == "exact"} == set(copies.items())
    assert all(distance == "0" for _, _, kind, distance in rows if kind == "exact")


def test_the_log_counts_what_was_left_out(hostile):
    *_, rejected, _, log = hostile
    assert f"{len(rejected)} files rejected (rejected.csv), the first" in log
    assert "3 exact copies dropped" in log
    assert "other files, not read: " in log
    for kind in ("1 .heic", "1 .txt", "1 no suffix"):
        assert kind in log


def test_the_same_folder_gives_the_same_bytes(hostile, tmp_path):
    project, root, *_ = hostile
    load_source(DataParams("folder", str(root), 16), "unused", tmp_path)
    for name in ("images.npy", "rejected.csv", "duplicates.csv"):
        assert (tmp_path / name).read_bytes() == (project.root / "data/pool" / name).read_bytes()


def write_embeddings(project):
    """Take pixels for both methods' embeddings: what k-center orders then is plain to see."""
    images = load_pool(project.root / "data/pool").images
    rows = images.reshape(len(images), -1).astype(np.float32) / 255 - 0.4
    for method in ("moco", "simclr"):
        write_npy(project.root / f"data/embeddings/{method}.npy", rows)
    return rows


def order_of(project):
    done = project.stage("kcenter_order")
    assert done.returncode == 0, done.stderr
    return read_csv(project.root / "data/orders/simclr.csv", ["rank", "index", "id", "radius"])


def test_the_order_holds_each_image_once_and_is_greedy(hostile):
    project, _, kept, *_ = hostile
    rows = write_embeddings(project)
    order = order_of(project)
    assert sorted(row["id"] for row in order) == sorted(kept)
    ids = load_pool(project.root / "data/pool").ids
    assert all(ids[int(row["index"])] == row["id"] for row in order)
    # Beside greedy k-center written down in its plainest form.
    units = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1)[:, None]
    distances = np.linalg.norm(units[:, None] - units[None], axis=2)
    picks = [int(row["index"]) for row in order]
    for rank in range(1, len(picks)):
        nearest = distances[:, picks[:rank]].min(axis=1)
        assert nearest[picks[rank]] == pytest.approx(nearest.max(), abs=1e-5)
        assert float(order[rank]["radius"]) == pytest.approx(nearest.max(), abs=1e-5)


def test_labelled_images_are_centres_and_not_ordered(hostile, tmp_path):
    project = hostile[0].copy(tmp_path / "project")
    # A copy that was dropped stands for the one that was kept; a rejected one is only reported.
    (tmp_path / "done.txt").write_text("rgb.png\ncopy/c.bmp\nempty.jpg\nUPPER.JPG\n")
    (tmp_path / "not.csv").write_text('note,id\n,gray.jpg\n,"comma,s.png"\n,gone.png\n')
    project.set_params(
        {
            "profiles.folder.labels.labelled": str(tmp_path / "done.txt"),
            "profiles.folder.data.exclude": str(tmp_path / "not.csv"),
        }
    )
    done = project.stage("download")
    assert done.returncode == 0, done.stderr
    assert "1 of 3 excluded ids are not there, the first 'gone.png'" in done.stderr
    pool = load_pool(project.root / "data/pool")
    assert not {"gray.jpg", "comma,s.png"} & set(pool.ids)
    rows = write_embeddings(project)
    for stage in ("labels", "zero_shot_order"):
        done = project.stage(stage)
        assert done.returncode == 0, done.stderr
    (row,) = read_csv(project.root / "data/labels/report.csv", ["id", "problem", "detail"])
    assert (row["id"], row["problem"]) == ("empty.jpg", "unknown id")
    assert row["detail"].endswith("done.txt: the file is empty")
    file = project.root / "data/zero_shot_orders/simclr.csv"
    order = [int(row["index"]) for row in read_csv(file, REASON_HEADER)]
    labelled = [pool.ids.index(name) for name in ("rgb.png", "copy/a.png", "UPPER.JPG")]
    assert sorted(order + labelled) == list(range(pool.n_train))
    expected = zero_shot_order(
        rows, len(order), initial_indices=sorted(labelled), n_targets=pool.n_train
    )
    assert order == expected.order.tolist()


@pytest.mark.parametrize(
    ("stage", "arguments"),
    [
        ("train_budget", ["5"]),
        ("baseline_random", []),
        ("baseline_coreset", []),
        ("class_histograms", []),
    ],
)
def test_what_needs_labels_says_so(hostile, stage, arguments):
    done = hostile[0].stage(stage, *arguments)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith(f"{stage}: ")]
    assert len(told) == 1, done.stderr
    assert "the pool has no labels of its own" in told[0]


def test_a_csv_of_paths_gives_the_same_pool(hostile, tmp_path):
    project, root, kept, *_ = hostile
    table = tmp_path / "images.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "note"])
        writer.writerows((name, root / name, "") for name in sorted(kept))
        writer.writerow(["lost", "nowhere/a.png", ""])
        writer.writerow(["folder", root, ""])
    pool = load_source(DataParams("csv", str(table), 16), "unused", tmp_path / "pool")
    expected = load_pool(project.root / "data/pool")
    assert (tuple(pool.ids), pool.images.tobytes()) == (expected.ids, expected.images.tobytes())
    rejected = read_csv(tmp_path / "pool/rejected.csv", ["id", "reason"])
    assert [tuple(row.values()) for row in rejected] == [
        ("folder", "cannot be opened (Is a directory)"),
        ("lost", "cannot be opened (No such file or directory)"),
    ]


def test_a_folder_without_a_good_image_stops_with_the_first_reason(fresh_project, tmp_path):
    project = fresh_project("all_bad")
    (tmp_path / "photos").mkdir()
    for name, content in {"b.png": b"", "a.jpg": b"text", "c.txt": b""}.items():
        (tmp_path / "photos" / name).write_bytes(content)
    project.set_params(SETTINGS | {"profiles.folder.data.root": str(tmp_path / "photos")})
    before = project.outs()
    done = project.stage("download")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"download: none of the 2 images in {tmp_path / 'photos'} can be read, the first 'a.jpg': "
        "not a JPEG"
    )
    assert project.outs() == before


def test_embed_leaves_the_accuracies_out(fresh_project, tmp_path):
    """From the folder to the order by the real stages, with the smallest of trainings."""
    project = fresh_project("unlabelled")
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(40):
        Image.fromarray(photo(i, SIDE, SIDE + i)).save(root / f"{i}.png")
    changes = {"encoder.width": 0.125, "data.root": str(root), "data.size_px": 16}
    for method in ("moco", "simclr"):
        changes |= {
            f"{method}.epochs": 1,
            f"{method}.batch_size": 64,  # of 40 images: halved
            f"{method}.views.size_px": 16,
        }
    changes |= {"moco.queue_size": 64, "moco.key_splits": 2}
    project.set_params(
        {"profile": "folder", "budget": 40}
        | {f"profiles.folder.{key}": value for key, value in changes.items()}
    )
    for stage in ("download", "pretrain_moco", "pretrain_simclr", "embed", "kcenter_order"):
        done = project.stage(stage)
        assert done.returncode == 0, done.stderr
    assert json.loads((project.root / "metrics/linear_eval.json").read_text()) == {}
    assert len(order_of(project)) == 40
