import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import IdFinder, Problem, join_labels
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.left_out import LeftOut
from zeroshot_al.sources.spreadsheet import quote_cell

IDS = ("a.png", "b.png", "=c.png", "d/e.png", "'=c.png", "'q.png")
LEFT_OUT = LeftOut(
    [{"id": "copy.png", "duplicate_of": "a.png", "kind": "exact", "distance": "0"}],
    [],
    [{"id": name, "reason": "the file is empty"} for name in ("broken.png", "-broken.png")],
)


def answer(name, *labels, is_path=False):
    return Answer(name, is_path, labels, "row 1")


def finder(files=None):
    return IdFinder(IDS, LEFT_OUT, files)


@pytest.mark.parametrize(
    ("answers", "labels", "problems"),
    [
        (
            [answer("a.png", "cat"), answer("d/e.png", "dog")],
            {"a.png": "cat", "d/e.png": "dog"},
            [],
        ),
        ([answer("a.png", "cafe\u0301")], {"a.png": "caf\u00e9"}, []),
        ([answer("x.png", "cat")], {}, [("x.png", "unknown id")]),
        ([answer("", "cat")], {}, [("", "unknown id")]),
        ([answer("broken.png", "cat")], {}, [("broken.png", "unknown id")]),
        ([answer("A.png", "cat")], {}, [("A.png", "unknown id")]),
        ([answer("a.png", "cow")], {}, [("a.png", "unknown class")]),
        ([answer("a.png", "Cat")], {}, [("a.png", "unknown class")]),
        ([answer("a.png", "cat"), answer("a.png", "dog")], {}, [("a.png", "conflict")]),
        ([answer("a.png", "cat"), answer("a.png", "cow")], {}, [("a.png", "conflict")]),
        ([answer("a.png", "cat", "dog")], {}, [("a.png", "conflict")]),
        ([answer("a.png", "cat"), answer("copy.png", "dog")], {}, [("a.png", "conflict")]),
        ([answer("a.png", "cat")] * 2, {"a.png": "cat"}, [("a.png", "repeated")]),
        ([answer("a.png"), answer("a.png", "cat")], {"a.png": "cat"}, []),
        ([answer("a.png")], {}, []),
        ([answer("copy.png", "cat")], {"a.png": "cat"}, []),
    ],
)
def test_what_is_wrong_is_reported_and_left_out(answers, labels, problems):
    found, reported = join_labels(answers, finder(), {"cat", "dog", "caf\u00e9"})
    assert found == labels
    assert [(problem.id, problem.problem) for problem in reported] == problems


@pytest.mark.parametrize(
    ("names", "detail"),
    [
        (("Cat", "cat", "cat"), "'Cat' and 'cat': [1, 2] labels"),
        (("1", "1.0"), "'1' and '1.0': [1, 1] labels"),
        (("1,50", "1.5", "01.5"), "'01.5' and '1,50' and '1.5': [1, 1, 1] labels"),
        (("STRASSE", "straße"), "'STRASSE' and 'straße': [1, 1] labels"),
        (("big  cat", "big cat"), "'big  cat' and 'big cat': [1, 1] labels"),
        (("e\u0301", "\u00e9"), r"'e\u0301' and '\xe9': [1, 1] labels"),
        (("a", "b", "1", "10"), None),
    ],
)
def test_classes_that_look_alike_are_reported_and_kept(names, detail):
    answers = [answer(name, label) for name, label in zip(IDS, names, strict=False)]
    labels, problems = join_labels(answers, finder(), ())
    assert tuple(labels.values()) == names
    assert problems == ([] if detail is None else [Problem("", "similar classes", detail)])


def test_an_unknown_class_that_looks_like_another_names_it():
    _, problems = join_labels([answer("a.png", "Cat")], finder(), {"cat", "CAT", "dog"})
    assert problems == [Problem("a.png", "unknown class", "row 1: 'Cat'; there is 'CAT' or 'cat'")]


def test_ids_are_taken_as_they_are_and_as_order_csv_writes_them():
    for name in ("broken.png", "'-broken.png"):
        found = finder().find(answer(name, "cat"))
        assert found == Problem(name, "unknown id", "row 1: the file is empty")
    for name in ("a.png", "d/e.png", "=c.png", "'q.png", "''q.png", "''=c.png"):
        found = finder().find(answer(name))
        assert found in IDS
        assert name in (found, quote_cell(found))
    # Both an id and another id's form in order.csv.
    assert finder().find(answer("'=c.png")).problem == "unknown id"
    # No form of b.png: order.csv would not quote it.
    assert finder().find(answer("'b.png")).problem == "unknown id"


def test_names_that_macos_decomposes_are_found(tmp_path):
    names = {form: unicodedata.normalize(form, "dé/ü 한.png") for form in ("NFC", "NFD")}
    for ours, theirs in (("NFC", "NFD"), ("NFD", "NFC")):
        ids = (names[ours], "a.png")
        files = ImageFiles(tmp_path, {name: str(tmp_path / name) for name in ids})
        found = IdFinder(ids, LeftOut([], [], []), files)
        assert found.find(answer(names[theirs])) == names[ours]
        assert found.find(answer(names[theirs], is_path=True)) == names[ours]
    both = IdFinder(tuple(names.values()), LeftOut([], [], []), None)
    assert [both.find(answer(name)) for name in names.values()] == list(names.values())
    assert "stands for two images" in both.find(answer(f" {names['NFC']}")).detail


def test_paths_are_absolute_or_relative_to_the_folder(tmp_path):
    real = tmp_path / "photos"
    (real / "d").mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    files = ImageFiles(real, {name: str(real / name) for name in IDS})
    for name in (
        "d/e.png",
        "./d/../d/e.png",
        str(real / "d/e.png"),
        str(tmp_path / "link/d/e.png"),
    ):
        assert finder(files).find(answer(name, is_path=True)) == "d/e.png"
    assert finder(files).find(answer(str(real / "copy.png"), is_path=True)) == "a.png"
    for name in ("e.png", str(tmp_path / "a.png"), "~nobody/a.png", "../" * 99 + "etc/passwd"):
        assert finder(files).find(answer(name, is_path=True)).problem == "unknown id"
    assert "have no files; give ids" in finder().find(answer("a.png", is_path=True)).detail


@given(
    st.lists(
        st.tuples(
            st.sampled_from((*IDS, "copy.png", "broken.png", "", "a", "A.png", "'b.png")),
            st.lists(st.sampled_from(("cat", "dog", "cow", "")), max_size=2),
        ),
        max_size=12,
    )
)
def test_nothing_is_guessed(given_answers):
    """Every label used was given to that image, by all who gave one; the others are reported."""
    answers = [
        Answer(name, False, tuple(filter(None, labels)), f"row {row}")
        for row, (name, labels) in enumerate(given_answers)
    ]
    labels, problems = join_labels(answers, finder(), {"cat", "dog"})
    reported = {problem.id for problem in problems if problem.problem != "repeated"}
    for one in answers:
        found = finder().find(one)
        if isinstance(found, Problem):
            assert one.name in reported
        elif one.labels:
            assert (found in labels) != (found in reported)
            if found in labels:
                assert set(one.labels) == {labels[found]}
    assert set(labels.values()) <= {"cat", "dog"}
    named = [finder().find(one) for one in answers if one.labels]
    assert set(labels) <= {found for found in named if isinstance(found, str)}
