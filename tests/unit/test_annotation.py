import csv
import html
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

import annotate
from pools import write_pool
from unit.test_label_page import data_of
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, write_csv, write_npy
from zeroshot_al.base.params import read_yaml
from zeroshot_al.base.pool import HEADER as POOL_HEADER
from zeroshot_al.base.pool import Pool
from zeroshot_al.gallery.annotation import file_name
from zeroshot_al.gallery.guesses import PREDICTIONS_HEADER
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.orders import HEADER, REASON_HEADER
from zeroshot_al.rounds import BATCH_HEADER, LABELLED_HEADER
from zeroshot_al.sources.spreadsheet import unquote_cell, write_table

ROOT = Path(__file__).parents[2]
N_TRAIN, BUDGET = 40, 25
HOSTILE = ["=cmd().png", "<script>alert(1)</script>.png", "a b/été & co.jpg", "'-1.png"]
HOSTILE += ["cafe\u0301.png", '-rf "$x".png', "日本/\\n.png", "two\nlines.png"]
FILES = {"order.csv", "list.txt", "label_studio.json", "label_studio_config.xml"}
FILES |= {"manifest.jsonl", "fiftyone.json", "gallery.html", "label.html"}


def make_workspace(root, ids, **annotate_params):
    """Write params, pool, embeddings and the orders under `root`; return k-center's ids."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (N_TRAIN + 5, 16, 16, 3), dtype=np.uint8)
    ids = (*ids, *(f"test-{i}" for i in range(5)))
    splits = ("train",) * N_TRAIN + ("test",) * 5
    write_pool(Pool(images, ids, splits, ("",) * len(ids)), root / "data/pool")
    embeddings = draw.normal(size=(len(ids), 8)).astype(np.float32)
    for method in ("moco", "simclr"):
        write_npy(root / f"data/embeddings/{method}.npy", embeddings)
        found = kcenter_order(embeddings[:N_TRAIN], N_TRAIN, n_initial=1, seed=0)
        rows = [
            (rank, index, ids[index], f"{radius:.9g}")
            for rank, (index, radius) in enumerate(zip(found.order, found.radius, strict=True))
        ]
        write_csv(root / f"data/orders/{method}.csv", HEADER, rows)
        # The other way round, and for two reasons.
        picks = enumerate(reversed(found.order.tolist()))
        rows_back = [(rank, i, ids[i], ("far", "representative")[rank % 2]) for rank, i in picks]
        write_csv(root / f"data/zero_shot_orders/{method}.csv", REASON_HEADER, rows_back)
    write_csv(root / "data/labels/labelled.csv", LABELLED_HEADER, [])
    write_csv(root / "data/labels/labels.csv", POOL_HEADER, [])
    set_params(root, **annotate_params)
    return [row[2] for row in rows]


def set_params(root, budget=BUDGET, data=None, method="simclr", rule="kcenter", **annotate_params):
    document = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document |= {"profile": "demo", "budget": budget, "rule": rule}
    profile = document["profiles"]["demo"]
    options = {"random_share": 0, "n_random": 3, "map_points": 20, "n_clusters": 3}
    profile["annotate"] |= options | annotate_params
    profile["data"] |= data or {}
    profile["order"] = {"method": method}
    (root / "params.yaml").write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path, make_workspace(tmp_path, [f"train/{i:03d}" for i in range(N_TRAIN)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of the user's own, with names of all sorts, and the workspace made of it."""
    ids = HOSTILE + [f"day {i % 3}/IMG_{i:03d}.png" for i in range(N_TRAIN - len(HOSTILE))]
    photos = tmp_path / "my photos"
    for number, name in enumerate(ids):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60 + number, 40), (number, 0, 0)).save(photos / name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    make_workspace(work, ids)
    set_params(work, data={"source": "folder", "root": str(photos)})
    return work, photos


def read(name):
    """Read a text, or the rows of order.csv, out of the workspace's data/annotate."""
    text = Path("data/annotate", name).read_text(encoding="utf-8")
    if name != "order.csv":
        return text
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


def addresses():
    """Where Label Studio looks for each pick."""
    tasks = json.loads(read("label_studio.json"))
    return [unquote(task["data"]["image"].partition("?d=")[2]) for task in tasks]


def list_photos(root, photos, ways=("",)):
    """Give the photos as a CSV of paths, by several ways in turn; return the paths."""
    ids = [row["id"] for row in read_csv(root / "data/pool/index.csv", ("id", "split", "label"))]
    rows = [(name, f"{ways[i % len(ways)]}{photos}/{name}") for i, name in enumerate(ids)]
    write_csv(root / "photos.csv", ("id", "path"), rows)
    set_params(root, data={"source": "csv", "root": str(root / "photos.csv")})
    annotate.main()
    return [path for _, path in rows]


def test_a_pool_without_files_gets_its_picks_as_images(workspace):
    root, order = workspace
    annotate.main()
    out = root / "data/annotate"
    assert {path.name for path in out.iterdir()} == FILES | {"images"}
    rows = read("order.csv")
    assert [row["id"] for row in rows] == order[:BUDGET]
    # The names sort as the ranks do, and hold what the pool holds.
    names = sorted(path.name for path in (out / "images").iterdir())
    assert [row["path"] for row in rows] == [f"images/{name}" for name in names]
    pool_images = np.load(root / "data/pool/images.npy")
    for row in rows[:5]:
        pixels = np.asarray(Image.open(out / row["path"]))
        assert (pixels == pool_images[int(row["id"][-3:])]).all()
    assert addresses()[0] == f"annotate/images/{names[0]}"
    assert read("list.txt").split() == [row["path"] for row in rows]


def test_the_rule_says_whose_picks_and_reasons_these_are(workspace):
    root, order = workspace
    found = {}
    for rule in ("kcenter", "zero_shot"):
        set_params(root, rule=rule)
        annotate.main()
        found[rule] = read("order.csv")
    assert [row["id"] for row in found["kcenter"]] == order[:BUDGET]
    assert [row["reason"] for row in found["kcenter"]] == ["start"] + ["far"] * (BUDGET - 1)
    rows = found["zero_shot"]
    assert [row["id"] for row in rows] == order[::-1][:BUDGET]
    assert [row["reason"] for row in rows[:3]] == ["far", "representative", "far"]
    # The distance to the nearest earlier pick, of rows of length 1.
    embeddings = np.load(root / "data/embeddings/simclr.npy").astype(float)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    places = [int(row["id"][-3:]) for row in rows]
    for rank in range(1, BUDGET):
        gaps = np.linalg.norm(units[places[:rank]] - units[places[rank]], axis=1)
        assert float(rows[rank]["radius"]) == pytest.approx(gaps.min(), abs=1e-5)
        assert rows[rank]["nearest_earlier"] == rows[gaps.argmin()]["id"]
    page = read("gallery.html")
    assert "SimCLR + hedged coverage" in page
    # Of the others the thumbnail shows the number alone.
    assert "<span>far " in page.replace("\n", "")
    assert "<span>representative" not in page.replace("\n", "")


def test_one_order_is_taken_whatever_the_method_is(workspace):
    root, _ = workspace
    (root / "data/orders/simclr.csv").unlink()
    annotate.main()
    assert "MoCo-v2 + k-center" in read("gallery.html")


def test_images_are_written_only_when_asked_for(workspace):
    root, order = workspace
    set_params(root, write_images=False)
    annotate.main()
    assert {path.name for path in (root / "data/annotate").iterdir()} == FILES - {"label.html"}
    rows = read("order.csv")
    assert {row["path"] for row in rows} == {""}
    assert read("list.txt").split() == order[:BUDGET]
    assert "no files of their own" in read("gallery.html")


def test_a_folder_s_own_files_are_named_and_measured(folder):
    root, photos = folder
    side = Image.new("RGB", (30, 20))
    exif = side.getexif()
    exif[0x0112] = 6  # shown turned by a quarter
    side.save(photos / HOSTILE[2], exif=exif)
    set_params(root, budget=N_TRAIN, data={"source": "folder", "root": str(photos)})
    annotate.main()
    out = root / "data/annotate"
    assert {path.name for path in out.iterdir()} == FILES
    rows = read("order.csv")
    ids = [unquote_cell(row["id"]) for row in rows]
    assert set(HOSTILE) <= set(ids)
    assert all(Path(row["path"]) == photos / name for row, name in zip(rows, ids, strict=True))
    lines = [json.loads(line) for line in read("manifest.jsonl").splitlines()[2:]]
    size_of = {line["name"] + line["extension"]: (line["width"], line["height"]) for line in lines}
    assert list(size_of) == ids
    assert size_of[HOSTILE[0]] == (60, 40)
    assert size_of[HOSTILE[2]] == (20, 30)
    page = read("gallery.html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in page
    assert "<script>alert" not in page


def test_duplicates_and_rejected_images_are_reported(workspace):
    root, order = workspace
    kept = order[3]
    write_csv(
        root / "data/pool/duplicates.csv",
        ["id", "duplicate_of", "kind", "distance"],
        [("copy-1", kept, "exact", "0"), ("like-1", order[4], "near", "3")],
    )
    write_csv(root / "data/pool/rejected.csv", ["id", "reason"], [("<b>broken", "no image")])
    annotate.main()
    rows = read("order.csv")
    assert [row["duplicate_group"] for row in rows] == [
        kept if row["id"] == kept else "" for row in rows
    ]
    page = read("gallery.html")
    assert "<b>1</b><span>duplicates removed" in page
    assert "Duplicates: 1, of 1 kept" in page
    assert "Near-duplicates: 1</h3>" in page
    assert "&lt;b&gt;broken" in page


def test_the_next_batch_holds_nothing_that_is_known_and_random_picks(workspace):
    root, order = workspace
    labelled, given = order[:3], order[2:8]
    write_csv(root / "data/labels/labelled.csv", LABELLED_HEADER, [(name,) for name in labelled])
    rows = [(rank, name, "far") for rank, name in enumerate(given)]
    write_csv(root / "batches/1.csv", BATCH_HEADER, rows)
    set_params(root, budget=20, random_share=0.2)
    annotate.main()
    rows = read("order.csv")
    drawn = [row["id"] for row in rows if row["reason"] == "random"]
    assert [row["rank"] for row in rows if row["id"] in drawn] == ["4", "9", "14", "19"]
    left = [name for name in order[8:] if name not in drawn[:3]]
    assert [row["id"] for row in rows if row["id"] not in drawn] == left[:16]
    # With something known the first pick has an earlier neighbour too.
    assert rows[0]["nearest_earlier"] in order[:8]
    assert "<b>8</b><span>labelled or given out before" in read("gallery.html")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 41}, "budget 41 exceeds the 40 picks left of data/orders/"),
        ({"method": "coreset"}, "order.method 'coreset' has no file in data/orders; set it to"),
        ({"method": None}, "method is null, and data/orders holds those of moco, simclr; name"),
        ({"n_neighbours": 40}, "n_neighbours 40 must be from 1 to 39"),
    ],
)
def test_bad_params_leave_the_old_files(workspace, change, message):
    root, _ = workspace
    annotate.main()
    before = {path.name: path.stat().st_mtime_ns for path in (root / "data/annotate").iterdir()}
    set_params(root, **change)
    with pytest.raises(InputError, match=message):
        annotate.main()
    assert before == {
        path.name: path.stat().st_mtime_ns for path in (root / "data/annotate").iterdir()
    }


def test_what_is_known_of_the_classes_goes_into_the_page_and_every_file(folder):
    root, _ = folder
    annotate.main()
    page = read("gallery.html")
    assert page.index('<a href="label.html">') < page.index("<h3>Label Studio</h3>")
    assert {path.name for path in (root / "data/annotate").iterdir()} == FILES
    assert '"predictions"' not in read("label_studio.json")
    names = [unquote_cell(row["id"]) for row in read("order.csv")]
    write_csv(root / "data/labels/labels.csv", POOL_HEADER, [("x", "train", "'rare' <1>")])
    rows = [(name, "often", 0.75, 0.5, "") for name in names]
    write_table(root / "data/predictions/predictions.csv", PREDICTIONS_HEADER, rows)
    write_csv(root / "batches/1.csv", BATCH_HEADER, [])
    annotate.main()
    assert {path.name for path in (root / "data/annotate").iterdir()} == FILES | {
        "cvat_annotations.xml"
    }
    page = data_of(root / "data/annotate/label.html")
    assert page["classes"] == ["'rare' <1>"]
    assert page["file"] == "labels_2.csv"
    assert [pick["guess"] for pick in page["picks"]] == [["often", 0.75]] * BUDGET
    assert "<Choice value=\"'rare' &lt;1&gt;\"/>" in read("label_studio_config.xml")
    for name in ("label_studio.json", "fiftyone.json", "cvat_annotations.xml"):
        assert read(name).count("often") == BUDGET
    command = re.search(r"cvat-cli task create.*?jsonl", html.unescape(read("gallery.html")), re.S)
    words = shlex.split(command[0])
    assert json.loads(words[words.index("--labels") + 1]) == [{"name": "'rare' <1>"}]


def test_a_file_that_is_gone_is_named(folder):
    root, photos = folder
    shutil.rmtree(photos / "day 1")
    with pytest.raises(InputError, match=r"IMG_\d+\.png cannot be read .*; restore it"):
        annotate.main()
    assert not (root / "data/annotate").exists()


def test_a_csv_of_paths_names_the_files_and_their_common_folder(folder):
    list_photos(*folder)
    assert all(
        Path(row["path"]) == folder[1] / unquote_cell(row["id"]) for row in read("order.csv")
    )
    assert all(address.startswith("my photos/") for address in addresses())


@pytest.mark.skipif(not Path("/proc/self/root").exists(), reason="no second way to a file")
def test_images_on_two_mounts_are_two_storages_of_label_studio(folder):
    paths = list_photos(*folder, ways=("/proc/self/root", ""))
    assert set(addresses()) <= {path.removeprefix("/") for path in paths}
    page = read("gallery.html")
    assert "DOCUMENT_ROOT=/\n" in page
    storages = page.split("with each of these paths; do not sync them:")[1].split(".</li>")[0]
    assert set(storages.split()) == {f"<code>/{path.split('/')[1]}</code>" for path in paths}


def test_the_gallery_s_archive_holds_the_names_of_cvat_s_manifest(folder):
    root, photos = folder
    set_params(root, budget=N_TRAIN, data={"source": "folder", "root": str(photos)})
    annotate.main()
    page = html.unescape(read("gallery.html"))
    command = re.search(r"<code>(python3 -c .*?)\ncvat-cli", page, re.DOTALL)[1]
    os.utime(photos / HOSTILE[0], (0, 0))  # zip knows no year before 1980
    subprocess.run(["sh", "-c", command], check=True, env=os.environ | {"LC_ALL": "C"})
    lines = read("manifest.jsonl").splitlines()
    names = [line["name"] + line["extension"] for line in map(json.loads, lines[2:])]
    with zipfile.ZipFile(root / "picks.zip") as archive:
        assert archive.namelist() == names
        assert all(archive.read(name) == (photos / name).read_bytes() for name in names)
        plain = [info.filename for info in archive.infolist() if not info.flag_bits & 0x800]
    assert plain == [name for name in names if name.isascii()]


@pytest.mark.parametrize("budget", [1, 2, N_TRAIN])
def test_any_budget_gives_the_same_bytes_twice(workspace, budget):
    root, order = workspace
    set_params(root, budget=budget)
    runs = []
    for _ in range(2):
        annotate.main()
        files = (root / "data/annotate").rglob("*")
        runs.append({path: path.read_bytes() for path in files if path.is_file()})
    assert runs[0] == runs[1]
    assert [row["id"] for row in read("order.csv")] == order[:budget]


def test_file_names_are_harmless_everywhere():
    assert file_name(7, 4, "train/a b;$(rm).png") == "0007_train_a_b_rm_.png.png"
    assert len(file_name(0, 1, "x" * 500)) < 100
