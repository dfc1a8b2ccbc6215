"""A folder and labels from somebody else, by the two commands that users type, to a classifier."""

import csv
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from hostile import photo
from unit.test_exports import NAMES
from zeroshot_al.base.files import read_csv
from zeroshot_al.rounds import BATCH_HEADER
from zeroshot_al.sources.spreadsheet import STARTS_A_FORMULA, unquote_cell

BUDGET, SIDE = 24, 16
# From the project's root, and with all that a shell would act on.
ROOT = "my 'photos' $(touch evil) `touch evil` $(shell touch evil);touch evil"
LABELS = "labels $(touch evil) 'of' \"them\".csv"
CLASSES = ("=cmd|' /C calc'!A0", "<script>alert(1)</script>\x1b[31m")


@pytest.fixture(scope="module")
def annotated(fresh_project):
    """Run `make annotate` on a folder of hostile names; return the project and its images."""
    project = fresh_project("untrusted")
    (project.root / ".venv").mkdir()
    (project.root / ".venv/installed").touch()
    photos = project.root / ROOT
    names = [name for name in NAMES if name.endswith((".png", ".jpg", ".webp"))]
    names = [name for name in names if not name.startswith((".", "..")) and len(name) < 200]
    for seed, name in enumerate(names + [f"plain/{i}.png" for i in range(20)]):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(seed, SIDE, SIDE)).save(photos / name)
    (photos / "out.png").symlink_to("/etc/passwd")
    (photos / "=bad.png").write_bytes(b"no image")
    changes = {
        "data.size_px": SIDE,
        "encoder.width": 0.125,
        "simclr.epochs": 1,
        "simclr.batch_size": 16,
        "simclr.views.size_px": SIDE,
        "annotate.n_random": 2,
        "annotate.n_clusters": 2,
        "annotate.map_points": 40,
    }
    project.set_params(
        {"seeds": [0]} | {f"profiles.folder.{key}": value for key, value in changes.items()}
    )
    project.commit()
    make(project, "annotate", f"ROOT={ROOT}", f"BUDGET={BUDGET}")
    return project, photos


def make(project, *words: str) -> str:
    """Run make, and look whether anything in a name was run."""
    done = project.call("make", *words, f"BIN={Path(sys.executable).parent}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not [path for path in project.root.rglob("evil*") if ".venv" not in path.parts]
    return done.stdout + done.stderr


def table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_names_are_names_all_the_way(annotated):
    project, photos = annotated
    assert project.params()["profiles"]["folder"]["data"]["root"] == ROOT
    out = project.root / "data/annotate"
    rows = table(out / "order.csv")
    assert len(rows) == BUDGET
    for row in rows:
        # The folder was given relative to the project; the tools need to find it from anywhere.
        assert Path(row["path"]) == photos / unquote_cell(row["id"])
        assert Path(row["path"]).is_file()
    page = (out / "gallery.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert not any(f"<{tag} " in page.lower() for tag in ("iframe", "object", "embed"))
    assert " onerror=" not in page.replace("&lt;img src=x onerror=", "")
    assert "make train LABELS=" in page
    rejected = table(project.root / "data/pool/rejected.csv")
    assert [row["id"] for row in rejected] == ["'=bad.png", "out.png"]
    manifest = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(isinstance(json.loads(line), dict) for line in manifest)


def test_labels_are_labels_all_the_way(annotated):
    project = annotated[0]
    with open(project.root / LABELS, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label"])
        order = table(project.root / "data/annotate/order.csv")
        writer.writerows((row["id"], CLASSES[rank % 2]) for rank, row in enumerate(order))
        writer.writerow(["=HYPERLINK(0)", CLASSES[0]])
    told = make(project, "train", f"LABELS={LABELS}")
    assert f"{BUDGET} usable labels: " in told
    assert "\x1b[31m" not in told
    assert r"<script>alert(1)</script>\x1b[31m" in told
    assert f"batches/1.csv: {BUDGET} of these {BUDGET} images are labelled" in told
    batch = read_csv(project.root / "batches/1.csv", BATCH_HEADER)
    assert [row["id"] for row in batch] == [unquote_cell(row["id"]) for row in order]
    cells = [
        cell for row in table(project.root / "data/labels/report.csv") for cell in row.values()
    ]
    assert "'=HYPERLINK(0)" in cells
    assert not any(cell.startswith(STARTS_A_FORMULA) for cell in cells)
