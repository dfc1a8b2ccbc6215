import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import IdFinder
from zeroshot_al.labels.labelling import LabelsParams, hold_out, label_pool
from zeroshot_al.sources.removed import Removed

IDS = [f"{i:02d}.png" for i in range(40)]
ORDER = IDS[::-1]


def label(n_labelled=20, test=None, skip=(), **changes):
    params = {"file": "x.csv", "test_root": None, "held_out": 0.25, "classes": None, "seed": 0}
    answers = [
        Answer(name, False, ("cat" if row % 2 else "dog",), f"row {row}")
        for row, name in enumerate(ORDER[:n_labelled])
        if row not in skip
    ]
    finder = IdFinder(IDS, Removed([], [], []), None)
    return label_pool(
        answers, IDS, finder, ORDER, "simclr", test or {}, [], LabelsParams(**(params | changes))
    )


def test_a_part_is_held_out():
    found = label()
    assert found.class_counts == {"cat": 10, "dog": 10}
    assert found.tested_on == "5 held-out labels"
    assert [name for name, _, _ in found.rows] == sorted(ORDER[:20])
    assert [split for _, split, _ in found.rows].count("test") == 5
    assert found.problems == []


def test_a_test_folder_takes_its_place():
    test = {"cat/1.png": "cat", "dog/1.png": "dog"}
    found = label(test=test, test_root="/tests")
    assert found.tested_on == "2 images of /tests"
    assert [row for row in found.rows if row[1] == "test"] == [
        ("cat/1.png", "test", "cat"),
        ("dog/1.png", "test", "dog"),
    ]
    assert len(found.rows) == 22


def test_the_test_folder_s_names_are_the_classes():
    found = label(test={"cat/1.png": "cat"}, classes=("cat", "dog"), test_root="/tests")
    assert found.class_counts == {"cat": 10, "dog": 10}
    with pytest.raises(InputError, match=r"all 10 usable labels in x.csv are of the class 'cat'"):
        label(test={"cat/1.png": "cat"}, test_root="/tests")
    with pytest.raises(InputError, match=r"class 'cow' of /tests is not among labels.classes"):
        label(test={"cow/1.png": "cow"}, classes=("cat", "dog"), test_root="/tests")


def test_gaps_before_the_last_label_are_missing():
    found = label(skip=(3, 7, 19))
    assert [(p.id, p.problem, p.detail) for p in found.problems] == [
        (ORDER[3], "missing", "rank 3 of simclr"),
        (ORDER[7], "missing", "rank 7 of simclr"),
    ]


def test_the_run_stops_when_nothing_can_be_used():
    with pytest.raises(
        InputError, match=r"no label in x.csv can be used; the first: '39.png' unkno"
    ):
        label(classes=("cow",))
    with pytest.raises(InputError, match="it holds none"):
        label(n_labelled=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(InputError, match="must be between 0 and 1"):
        hold_out(IDS, fraction, 0)


def test_held_out_labels_stay_so_as_labels_are_added():
    few, many = hold_out(IDS[:20], 0.25, 0), hold_out(IDS, 0.25, 0)
    assert (len(few), len(many)) == (5, 10)
    assert len(few & many) >= 3
    assert hold_out(IDS[::-1], 0.25, 0) == many != hold_out(IDS, 0.25, 1)
    assert len(hold_out(IDS[:2], 0.01, 0)) == 1
    with pytest.raises(InputError, match="cannot be parted"):
        hold_out(IDS[:1], 0.5, 0)
