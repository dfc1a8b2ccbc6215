import logging

import numpy as np
import pytest

from pools import write_pool
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_csv, write_json, write_npy
from zeroshot_al.base.pool import Pool
from zeroshot_al.classifier.labelled_pool import first_picks, load_labelled_pool

IDS = tuple(f"{i}.png" for i in range(6))
ROWS = [
    ("0.png", "train", "dog"),
    ("1.png", "test", "cat"),
    ("2.png", "train", "cat"),
    ("4.png", "train", "dog"),
]


def make(root, rows=ROWS, test_images=None, labels=("",) * 6):
    images = np.arange(6 * 4 * 4 * 3, dtype=np.uint8).reshape(6, 4, 4, 3)
    write_pool(Pool(images, IDS, ("train",) * 6, labels), root / "pool")
    write_csv(root / "labels/labels.csv", ("id", "split", "label"), rows)
    write_json(root / "labels/summary.json", {"tested_on": "some images"})
    if test_images is not None:
        write_npy(root / "labels/test_images.npy", test_images)
    return load_labelled_pool(root / "pool", root / "labels"), images


def test_held_out_labels_are_the_test(tmp_path):
    pool, images = make(tmp_path)
    assert pool.classes == ("cat", "dog")
    assert pool.train_labels.tolist() == [1, 0, 0, -1, 1, -1]
    assert np.array_equal(pool.test_images, images[[1]])
    assert pool.test_labels.tolist() == [0]


def test_a_test_folder_is_the_test(tmp_path):
    test_images = np.full((2, 4, 4, 3), 9, np.uint8)
    rows = [row for row in ROWS if row[1] == "train"]
    # Its names are paths of its own: one may be the same as an id of the pool.
    rows += [("0.png", "test", "cow"), ("cat/1.png", "test", "cat")]
    pool, _ = make(tmp_path, rows, test_images)
    assert pool.classes == ("cat", "cow", "dog")
    assert pool.train_labels.tolist() == [2, -1, 0, -1, 2, -1]
    assert np.array_equal(pool.test_images, test_images)
    assert pool.test_labels.tolist() == [1, 0]
    assert first_picks(pool, [0, 2, 4], 3, "order").tolist() == [0, 2, 4]


def test_only_picks_that_are_all_labelled_are_trained_on(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    pool, _ = make(tmp_path)
    order = [2, 1, 0, 3, 4, 5]
    assert first_picks(pool, order, 3, "order").tolist() == [2, 0]
    assert not caplog.messages
    assert first_picks(pool, order, 5, "order") is None
    assert caplog.messages == [
        "budget 5: 4 of the first 5 picks of order have a label; not trained, rank 3 is the first "
        "without"
    ]
    # An order that ends before the budget.
    assert first_picks(pool, [0, 1, 2], 9, "order") is None
    assert "3 of the first 9 picks of order have a label; not trained, rank 3" in caplog.messages[1]
    # Of one class, or all held out.
    for budget, picks in ((2, [0, 4]), (3, [0, 1, 4]), (1, [1])):
        assert first_picks(pool, picks, budget, "order") is None
        n_training = sum(pick != 1 for pick in picks)
        assert caplog.messages.pop() == (
            f"budget {budget}: the {n_training} training labels of order are not of two classes; "
            "not trained"
        )


def test_a_labelled_pool_is_itself(tmp_path):
    pool, _ = make(tmp_path, [], labels=tuple("abcabc"))
    assert isinstance(pool, Pool)


def test_labels_of_another_pool_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"a label of 'x.png', which the pool lacks; run labels"):
        make(tmp_path, [*ROWS, ("x.png", "train", "cat")])
    with pytest.raises(InputError, match="has 3 test images and 1 labels of them"):
        make(tmp_path, ROWS, np.zeros((3, 4, 4, 3), np.uint8))


def test_without_labels_it_says_so(tmp_path):
    make(tmp_path)
    for labels in (None, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="the pool has no labels of its own"):
            load_labelled_pool(tmp_path / "pool", labels)
