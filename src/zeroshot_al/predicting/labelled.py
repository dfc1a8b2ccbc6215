"""The labels that came back, and which of them were chosen in which round, or drawn at random."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, read_npy
from zeroshot_al.base.pool import HEADER, Pool
from zeroshot_al.rounds import RANDOM, index_of_labelled


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of a pool's images, in the order in which they were given out.

    Parameters
    ----------
    indices : ndarray of shape (n,), int64
        Pool indices; what no batch holds comes first.
    codes : ndarray of shape (n,), int64
        Indices into `classes`.
    classes : tuple of str
        The sorted names.
    rounds : ndarray of shape (n,), int64
        Number of the batch; 0 of what no batch holds.
    is_random : ndarray of shape (n,), bool
        Whether it was drawn at random.
    test_images : ndarray of shape (n_test, height, width, 3), uint8
        Of the test folder; none without.
    test_codes : ndarray of shape (n_test,), int64
        -1 of a class without a label to train on.
    """

    indices: np.ndarray
    codes: np.ndarray
    classes: tuple[str, ...]
    rounds: np.ndarray
    is_random: np.ndarray
    test_images: np.ndarray
    test_codes: np.ndarray

    @property
    def single_classes(self) -> list[str]:
        """The classes with one label, which stays in training."""
        counts = np.bincount(self.codes, minlength=len(self.classes))
        return [name for name, n in zip(self.classes, counts, strict=True) if n == 1]


def read_labels(
    pool: Pool, labels_dir: str | Path, batches: Mapping[int, Mapping[str, str]]
) -> Labelled | None:
    """Read what stage `labels` made of a pool's labels; None if there are none.

    Parameters
    ----------
    pool, labels_dir
    batches
        As `rounds.read_batches` returns them.

    Raises
    ------
    InputError
        If the labels are another pool's, or of one class alone.
    """
    rows = read_csv(Path(labels_dir, "labels.csv"), HEADER)
    label_of = {row["id"]: row["label"] for row in rows if row["split"] == "train"}
    if not label_of:
        return None
    classes = tuple(sorted(set(label_of.values())))
    if len(classes) == 1:
        raise InputError(
            f"all {len(label_of)} labels are of the class {classes[0]!r}; a model needs two "
            "classes at least: label on"
        )
    code_of = {name: code for code, name in enumerate(classes)}
    index_of = index_of_labelled(pool, label_of, labels_dir)
    given = {name: (number, batch[name]) for number, batch in batches.items() for name in batch}
    rest = [name for name in label_of if name not in given]
    names = rest + [name for name in given if name in label_of]
    of_test = [code_of.get(row["label"], -1) for row in rows if row["split"] == "test"]
    test_images = pool.images[:0]
    if of_test:
        test_images = read_npy(Path(labels_dir, "test_images.npy"), memory_map=True)
    return Labelled(
        indices=np.array([index_of[name] for name in names], dtype=np.int64),
        codes=np.array([code_of[label_of[name]] for name in names], dtype=np.int64),
        classes=classes,
        rounds=np.array([given.get(name, (0, ""))[0] for name in names], dtype=np.int64),
        is_random=np.array([given.get(name, (0, ""))[1] == RANDOM for name in names]),
        test_images=test_images,
        test_codes=np.array(of_test, dtype=np.int64),
    )
