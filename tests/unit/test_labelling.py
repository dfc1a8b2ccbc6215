import pytest

from refusals import refusal
from zeroshot_al.labels.label_files import Answer
from zeroshot_al.labels.label_join import IdFinder
from zeroshot_al.labels.labelling import FinetuneParams, LabelsParams, find_labelled, label_pool
from zeroshot_al.sources.left_out import LeftOut

IDS = [f"{i:02d}.png" for i in range(20)]
REJECTED = [{"id": "bad.png", "reason": "the file is empty"}]
COPIES = [{"id": "copy.png", "duplicate_of": "03.png"}]
FINDER = IdFinder(IDS, LeftOut(COPIES, [], REJECTED), None)


def label(names=("dog", "cat") * 10, test=None, **changes):
    """Label the pool's beginning; "" for none. Return labels and problems."""
    params = {"file": "x.csv", "labelled": None, "test_root": None, "classes": None}
    params |= {"model": "head", "finetune": FinetuneParams(600, 0.01, 60, 0.0)}
    answers = [
        Answer(name, False, (given,) if given else (), f"row {row}")
        for row, (name, given) in enumerate(zip(IDS, names, strict=False))
    ]
    return label_pool(answers, FINDER, test or {}, [], LabelsParams(**(params | changes)))


def test_labels_are_joined_and_alike_classes_logged(caplog):
    assert label() == (dict(zip(IDS, ("dog", "cat") * 10, strict=True)), [])
    assert label(["", "cat", ""]) == ({IDS[1]: "cat"}, [])
    label(("Dog", "dog", "cat") * 2)
    assert "similar classes: 'Dog' and 'dog': [2, 2] labels" in caplog.text


def test_the_test_folder_s_names_are_the_classes(caplog):
    options = {"test": {"cat/1.png": "cat"}, "test_root": "/tests"}
    labels, problems = label(**options)
    assert set(labels.values()) == {"cat"}
    assert {problem.problem for problem in problems} == {"unknown class"}
    assert set(label(classes=("cat", "dog"), **options)[0].values()) == {"cat", "dog"}
    assert not caplog.messages
    label(test=dict(enumerate(("cat", "dog", "owl", "cow"))), test_root="/tests")
    assert caplog.messages == ["tested without a label to train on: cow, owl"]
    message = refusal(label, classes=("dog",), **options)
    assert "class 'cat' of /tests is not among labels.classes" in message


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["cat"], {"classes": ("cow",)}, "no label in x.csv can be used; the first: '00.png' unk"),
        ([], {}, "x.csv holds no label; its column, or the control in Label Studio, must be named"),
    ],
)
def test_labels_that_do_not_serve_are_refused(names, options, message):
    assert message in refusal(label, names, **options)


def test_ids_labelled_elsewhere_are_found_or_reported():
    names = ["05.png", "copy.png", "bad.png", "gone.png", "05.png"]
    found, problems = find_labelled(names, FINDER, "done.txt")
    assert found == {"05.png", "03.png"}
    assert [(problem.id, problem.detail) for problem in problems] == [
        ("bad.png", "done.txt: the file is empty"),
        ("gone.png", "done.txt: no image of the pool"),
    ]
    assert find_labelled([], FINDER, "done.txt") == (set(), [])
    message = refusal(find_labelled, ["gone.png"], FINDER, "done.txt")
    assert "none of the 1 labelled ids in done.txt is in the pool, the first 'gone.png'" in message
