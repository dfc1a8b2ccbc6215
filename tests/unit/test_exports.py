import csv
import json
import math
import unicodedata
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from unit.test_spreadsheet import BIG_ENDIAN, save
from zeroshot_al.base.files import read_csv
from zeroshot_al.gallery.exports import (
    ORDER_HEADER,
    Pick,
    cvat_annotations,
    cvat_manifest,
    fiftyone_dataset,
    label_studio_config,
    label_studio_tasks,
    order_rows,
    plain_list,
)
from zeroshot_al.gallery.guesses import Guess, read_guesses
from zeroshot_al.labels.label_files import read_answers
from zeroshot_al.labels.label_join import IdFinder
from zeroshot_al.sources.left_out import LeftOut
from zeroshot_al.sources.spreadsheet import STARTS_A_FORMULA, unquote_cell, write_table

# In an order that no sorting gives.
NAMES = [
    "z/last.jpg",
    "<script>alert(1)</script>.png",
    "=cmd|' /C calc'!A0.png",
    "+1.png",
    "-2+3.png",
    "@SUM(1).png",
    "\tx.png",
    "'quoted.png",
    "''twice.png",
    'a,b"c.png',
    "two\nlines.png",
    '"begins with a quote.png',
    "\uff1dfull.png",
    "ünï/日本.webp",
    "100% of #1?&d=x.png",
    "a b.png",
    '"><img src=x onerror=alert(1)>.png',
    "javascript:alert(1).png",
    "\u202egpj.exe.png",
    "x\r=1.png",
    "../x.png",
    "</script><script>alert(2)</script>.png",
    "&lt;b&gt;.png",
    "-rf.png",
    "\u00a0.png",
    "<img src=x onerror=document.title='evil'>.png",
    "\"><svg onload=document.title='evil'>.png",
    "</title><svg onload=alert(3)>.png",
    "<!--.png",
    "'onmouseover='alert(4)'.png",
    "no-extension",
    "dots.in.name.tar.png",
    ".hidden.png",
    "cafe\u0301.png",
    "a/first.jpg",
]


def make_picks(names=NAMES):
    return [
        Pick(
            rank=rank,
            index=rank,
            id=name,
            name=name,
            path=f"/photos/{name}",
            size_px=(640 + rank, 480),
            reason="start" if rank == 0 else "far",
            radius=math.inf if rank == 0 else 1 / rank,
            nearest_earlier="" if rank == 0 else names[0],
            duplicates=("copy of =1.png",) if rank == 2 else (),
            outlier_score=0.25 + rank,
        )
        for rank, name in enumerate(names)
    ]


def test_order_csv_gives_every_id_back_and_runs_nothing(tmp_path):
    write_table(tmp_path / "order.csv", ORDER_HEADER, order_rows(make_picks()))
    rows = read_csv(tmp_path / "order.csv", ORDER_HEADER)
    assert [int(row["rank"]) for row in rows] == list(range(len(NAMES)))
    assert [unquote_cell(row["id"]) for row in rows] == NAMES
    assert [row["path"] for row in rows] == [f"/photos/{name}" for name in NAMES]
    for row in rows:
        for column, cell in row.items():
            assert not cell.startswith(STARTS_A_FORMULA), column
    assert rows[0]["radius"] == "inf"
    assert rows[0]["nearest_earlier"] == ""
    assert float(rows[4]["radius"]) == 0.25
    assert [unquote_cell(row["duplicate_group"]) for row in rows] == [
        name if rank == 2 else "" for rank, name in enumerate(NAMES)
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", BIG_ENDIAN, "cp1252"])
def test_every_id_comes_back_however_order_csv_is_saved(tmp_path, encoding, separator, form):
    names = NAMES
    if encoding == "cp1252":
        names = [name for name in NAMES if name.isascii()] + ["\u00fcn\u00ef.webp"]
    write_table(tmp_path / "order.csv", ORDER_HEADER, order_rows(make_picks(names)))
    with open(tmp_path / "order.csv", newline="", encoding="utf-8-sig") as file:
        header, *rows = csv.reader(file)
    rows = [[*header, "label"], *([*row, "\u00fc"] for row in rows)]
    if encoding != "cp1252":
        rows = [[unicodedata.normalize(form, cell) for cell in row] for row in rows]
    answers = read_answers(save(tmp_path / "labels.csv", rows, encoding, separator))
    finder = IdFinder(names, LeftOut([], [], []), None)
    assert [finder.find(answer) for answer in answers] == names


def test_the_plain_list_holds_one_name_a_line():
    lines = plain_list(make_picks()).split("\n")
    assert lines.pop() == ""
    read = [json.loads(line) if line.startswith('"') else line for line in lines]
    assert not any(name.startswith("-") for name in read)
    assert [name.removeprefix("./") for name in read] == NAMES


def test_label_studio_gets_the_file_s_address_and_the_rank():
    root = label_studio_tasks(make_picks(["mnt/a b.png"]), "")
    assert root[0]["data"]["image"] == "/data/local-files/?d=mnt/a%20b.png"
    tasks = json.loads(json.dumps(label_studio_tasks(make_picks(), "my photos"), allow_nan=False))
    assert [task["data"]["rank"] for task in tasks] == list(range(len(NAMES)))
    for task, name in zip(tasks, NAMES, strict=True):
        address = urlsplit(task["data"]["image"])
        assert address.path == "/data/local-files/"
        assert address.fragment == ""
        assert parse_qs(address.query) == {"d": [f"my photos/{name}"]}
        assert task["data"]["image_id"] == name
    assert tasks[0]["data"]["radius"] is None
    assert tasks[2]["data"]["duplicates"] == ["copy of =1.png"]


def test_cvat_s_manifest_names_each_file_in_order():
    lines = [json.loads(line) for line in cvat_manifest(make_picks()).splitlines()]
    assert lines[:2] == [{"version": "1.1"}, {"type": "images"}]
    assert [line["name"] + line["extension"] for line in lines[2:]] == NAMES
    assert (lines[2]["name"], lines[2]["extension"]) == ("z/last", ".jpg")
    assert (lines[5]["width"], lines[5]["height"]) == (643, 480)


def test_fiftyone_s_samples_stand_in_order():
    dataset = json.loads(json.dumps(fiftyone_dataset(make_picks(), "mine"), allow_nan=False))
    samples = dataset["samples"]
    assert dataset["name"] == "mine"
    assert [sample["filepath"] for sample in samples] == NAMES
    assert [sample["rank"] for sample in samples] == list(range(len(NAMES)))
    assert not {"id", "_id"} & set(samples[0])


CLASSES = ["cat", "=1+1", '"><b>', "bell \a"]


def make_guessed_picks():
    """Picks with a guess each, but for the first."""
    return [
        replace(pick, guess=Guess(CLASSES[pick.rank % 4], 0.5 + pick.rank / 100) if i else None)
        for i, pick in enumerate(make_picks())
    ]


def test_label_studio_s_interface_names_the_classes():
    view = ElementTree.fromstring(label_studio_config(CLASSES))
    assert [one.get("value") for one in view.iter("Choice")] == [*CLASSES[:3], "bell \ufffd"]
    assert view.find("Image").attrib == {"name": "image", "value": "$image"}


def test_guesses_go_along_in_every_tool_s_format():
    picks = make_guessed_picks()
    first, *tasks = label_studio_tasks(picks, "photos", "model-1")
    assert "predictions" not in first
    for task, pick in zip(tasks, picks[1:], strict=True):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "model-1"
        assert prediction["score"] == pick.guess.probability
        (choice,) = prediction["result"]
        assert choice["value"] == {"choices": [pick.guess.label]}
        # The names of the controls in the interface.
        assert (choice["from_name"], choice["to_name"]) == ("label", "image")
    first, *samples = fiftyone_dataset(picks, "mine")["samples"]
    assert "prediction" not in first
    for sample, pick in zip(samples, picks[1:], strict=True):
        assert sample["prediction"] == {
            "_cls": "Classification",
            "label": pick.guess.label,
            "confidence": pick.guess.probability,
        }
    names = [json.loads(line) for line in cvat_manifest(picks).splitlines()[2:]]
    for image in ElementTree.fromstring(cvat_annotations(picks)).iter("image"):
        rank = int(image.get("id"))
        assert image.get("name") == names[rank]["name"] + names[rank]["extension"] == NAMES[rank]
        assert (image.get("width"), image.get("height")) == (str(640 + rank), "480")
        assert image.find("tag").attrib == {"label": CLASSES[rank % 4], "source": "auto"}


def test_guesses_are_read_as_predict_writes_them(tmp_path):
    path = tmp_path / "predictions.csv"
    assert read_guesses(path, ["a"]) == ({}, "")
    header = ("id", "predicted", "probability", "margin", "labelled")
    write_table(path, header, [(name, "=1+1", 0.75, 0.5, "") for name in NAMES])
    found = read_guesses(path, NAMES[3:6])
    assert found.by_id == dict.fromkeys(NAMES[3:6], Guess("=1+1", 0.75))
    write_table(path, header, [(name, "=1+1", 0.76, 0.5, "") for name in NAMES])
    assert read_guesses(path, NAMES).version not in ("", found.version)
