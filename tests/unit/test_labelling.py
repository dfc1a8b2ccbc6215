from collections import Counter

import pytest

from refusals import refusal
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import IdFinder
from zeroshot_al.labels.labelling import LabelsParams, hold_out, label_pool
from zeroshot_al.sources.left_out import LeftOut

IDS = [f"{i:02d}.png" for i in range(40)]
ORDER = IDS[::-1]
HALF = {"cat": 10, "dog": 10}


def label(names=("dog", "cat") * 10, test=None, **changes):
    """Label the order's beginning; "" for none. Return rows, problems and the summary."""
    params = {"file": "x.csv", "test_root": None, "held_out": 0.25, "classes": None, "seed": 0}
    answers = [
        Answer(name, False, (given,) if given else (), f"row {row}")
        for row, (name, given) in enumerate(zip(ORDER, names, strict=False))
    ]
    finder = IdFinder(IDS, LeftOut([], [], []), None)
    return label_pool(
        answers, IDS, finder, ORDER, "simclr", test or {}, [], LabelsParams(**(params | changes))
    )


def test_a_part_is_held_out(caplog):
    rows, problems, summary = label()
    assert summary == {"tested_on": "5 held-out labels", "classes": HALF}
    assert [name for name, _, _ in rows] == sorted(ORDER[:20])
    assert [split for _, split, _ in rows].count("test") == 5
    assert problems == []
    label(("Dog", "dog", "cat") * 2)
    assert "similar classes: 'Dog' and 'dog': [2, 2] labels" in caplog.text


def test_a_test_folder_takes_its_place():
    test = {"cat/1.png": "cat", "dog/1.png": "dog"}
    rows, _, summary = label(test=test, test_root="/tests")
    assert summary["tested_on"] == "2 images of /tests"
    assert [row for row in rows if row[1] == "test"] == [
        ("cat/1.png", "test", "cat"),
        ("dog/1.png", "test", "dog"),
    ]
    assert len(rows) == 22


def test_the_test_folder_s_names_are_the_classes(caplog):
    options = {"test": {"cat/1.png": "cat"}, "test_root": "/tests"}
    assert label(classes=("cat", "dog"), **options)[2]["classes"] == HALF
    assert not caplog.messages
    label(test=dict(enumerate(("cat", "dog", "owl", "cow"))), test_root="/tests")
    assert caplog.messages == ["tested without a label to train on: cow, owl"]
    message = refusal(label, **options)
    assert "all 10 usable labels in x.csv are of the class 'cat'" in message
    message = refusal(label, classes=("dog",), **options)
    assert "class 'cat' of /tests is not among labels.classes" in message


def test_gaps_before_the_last_label_are_missing():
    names = ["" if rank in (3, 7, 19) else ["dog", "cat"][rank % 2] for rank in range(20)]
    assert label(names)[1] == [
        (ORDER[3], "missing", "rank 3 of simclr"),
        (ORDER[7], "missing", "rank 7 of simclr"),
    ]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["cat"], {"classes": ("cow",)}, "no label in x.csv can be used; the first: '39.png' unk"),
        ([], {}, "x.csv holds no label; its column, or the control in Label Studio, must be named"),
        (["cat", "dog"], {}, "2 labels of 2 classes cannot be split into training and test"),
        *(
            (["cat", "dog"] * 2, {"held_out": part}, "must be between 0 and 1")
            for part in (0.0, 1.0, -0.1)
        ),
    ],
)
def test_labels_that_do_not_serve_are_refused(names, options, message):
    assert message in refusal(label, names, **options)


def test_held_out_labels_stay_so_as_labels_are_added():
    labels = dict.fromkeys(IDS, "cat")
    few = hold_out(dict.fromkeys(IDS[:20], "cat"), ORDER, 0.25, 0)
    many = hold_out(labels, ORDER, 0.25, 0)
    assert (len(few), len(many)) == (5, 10)
    assert len(few & many) >= 3
    assert hold_out(dict.fromkeys(IDS[::-1], "cat"), ORDER, 0.25, 0) == many
    assert hold_out(labels, ORDER, 0.25, 1) != many
    assert len(hold_out(dict.fromkeys(IDS[:2], "cat"), ORDER, 0.01, 0)) == 1


@pytest.mark.parametrize(
    ("sizes", "fraction", "held"),
    [
        ([2] * 10, 0.2, 4),
        ([3, 1], 0.2, 1),
        ([30, 1, 1, 1], 0.2, 7),
        ([20, 10, 10], 0.5, 20),
        ([2, 2], 0.9, 2),
    ],
)
@pytest.mark.parametrize("seed", range(20))
def test_each_class_is_split_and_none_is_tested_that_was_not_trained_on(
    sizes, fraction, held, seed
):
    names = [f"class {i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = dict(zip(ORDER, names, strict=False))
    found = hold_out(labels, ORDER, fraction, seed)
    assert len(found) == held
    counts = Counter(labels[name] for name in found)
    n_places = sum(sizes) - len(sizes)
    for number, size in enumerate(sizes):
        part = counts[f"class {number}"]
        assert part < size
        if held < n_places:
            assert abs(part - fraction * size) <= 1
        # The first of a class stays, so that the first picks hold every class that they can.
        assert ORDER[names.index(f"class {number}")] not in found
