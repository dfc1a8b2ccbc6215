"""What a classifier is trained and tested on: a labelled pool, or a pool and the labels brought."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, read_json, read_npy
from zeroshot_al.base.pool import HEADER, NO_LABELS, Pool, check_budgets, load_pool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PartlyLabelledPool:
    """An unlabelled pool with labels of some images; what training needs is named as in `Pool`.

    Parameters
    ----------
    pool : Pool
    train_labels : ndarray of shape (n_train,), int64
        Indices into `classes`; -1 without a label.
    is_held_out : ndarray of shape (n_train,), bool
        Labelled images of the pool that are for the test alone.
    test_images : ndarray of shape (n_test, height, width, 3), uint8
    test_labels : ndarray of shape (n_test,), int64
    classes : tuple of str
    tested_on : str
        What the test images are, in words.
    """

    pool: Pool
    train_labels: np.ndarray
    is_held_out: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    tested_on: str

    @property
    def train_ids(self) -> Sequence[str]:
        """The n_train ids of the pool."""
        return self.pool.train_ids

    @property
    def train_images(self) -> np.ndarray:
        """All images of the pool."""
        return self.pool.train_images


def first_picks(
    pool: Pool | PartlyLabelledPool, order: Sequence[int], budget: int, name: str
) -> np.ndarray | None:
    """Take the first picks of an order of pool indices, but those that are held out.

    Returns
    -------
    ndarray of int64, or None
        None if labels were brought and not every one of the first `budget` picks has one, or
        their training labels are not of two classes; the log says so.

    Raises
    ------
    InputError
        If the budget exceeds the pool, or the order of a labelled one.
    """
    picks = np.array(order[:budget], dtype=np.int64)
    if isinstance(pool, Pool):
        check_budgets([budget], pool.n_train)
        if len(picks) < budget:
            raise InputError(
                f"{name} ends after {len(picks)} picks, before the budget of {budget}; "
                "make the order again, or longer by order.n_select"
            )
        return picks
    gaps = np.flatnonzero(pool.train_labels[picks] < 0)
    if len(gaps) or len(picks) < budget:
        rank = int(gaps[0]) if len(gaps) else len(picks)
        logger.info(
            "budget %d: %d of the first %d picks of %s have a label; not trained, rank %d is "
            "the first without",
            budget,
            len(picks) - len(gaps),
            budget,
            name,
            rank,
        )
        return None
    picks = picks[~pool.is_held_out[picks]]
    if len(set(pool.train_labels[picks].tolist())) < 2:
        logger.info(
            "budget %d: the %d training labels of %s are not of two classes; not trained",
            budget,
            len(picks),
            name,
        )
        return None
    return picks


def load_labelled_pool(
    pool_dir: str | Path, labels_dir: str | Path | None
) -> Pool | PartlyLabelledPool:
    """Read a pool, and what stage `labels` made where the pool has no labels of its own.

    Raises
    ------
    InputError
        If there are no labels at all, or they are not this pool's.
    """
    pool = load_pool(pool_dir)
    if pool.is_labelled:
        return pool
    if labels_dir is None or not Path(labels_dir, "labels.csv").exists():
        raise InputError(NO_LABELS)
    rows = read_csv(Path(labels_dir, "labels.csv"), HEADER)
    classes = tuple(sorted({row["label"] for row in rows}))
    code_of = {name: code for code, name in enumerate(classes)}
    index_of = {name: index for index, name in enumerate(pool.train_ids)}
    codes = np.full(pool.n_train, -1, dtype=np.int64)
    held_out = np.zeros(pool.n_train, dtype=bool)
    path = Path(labels_dir, "test_images.npy")
    own_test = path.exists()
    test_rows = [row for row in rows if row["split"] == "test"]
    for row in rows:
        if own_test and row["split"] == "test":
            continue
        if row["id"] not in index_of:
            raise InputError(
                f"{labels_dir} holds a label of {row['id']!r}, which the pool lacks; "
                "run labels again"
            )
        codes[index_of[row["id"]]] = code_of[row["label"]]
        held_out[index_of[row["id"]]] = row["split"] == "test"
    if own_test:
        test_images = read_npy(path, memory_map=True)
        test_codes = np.array([code_of[row["label"]] for row in test_rows], dtype=np.int64)
    else:
        test_images, test_codes = pool.train_images[held_out], codes[held_out]
    if not len(test_images) or len(test_images) != len(test_codes):
        raise InputError(
            f"{labels_dir} has {len(test_images)} test images and {len(test_codes)} labels of "
            "them; run labels again"
        )
    tested_on = read_json(Path(labels_dir, "summary.json"))["tested_on"]
    return PartlyLabelledPool(pool, codes, held_out, test_images, test_codes, classes, tested_on)
