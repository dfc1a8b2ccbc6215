"""The pool: every image of the experiment with its id, split and label, in one canonical order.

On disk it is a directory with `images.npy` (uint8, n x h x w x 3) and `index.csv`
(id, split, label), the train images first: one array, not 50,000 small files. A pool of the user's
own images has no labels. A source may leave more files there: `rejected.csv`, `duplicates.csv`,
`embeddings.npy`.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy, read_rows, write_csv, write_npy

HEADER = ("id", "split", "label")
SPLITS = ("train", "test")


NO_LABELS = (
    "the pool has no labels of its own, and this needs one for every image; give images in class "
    "folders (data.source class_folders), or train on labels of some by make train"
)


# eq=False: comparing arrays with == gives no truth value.
@dataclass(frozen=True, eq=False)
class Pool:
    """Images with their ids, splits and labels; row i of each describes `images[i]`.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), uint8
        May be a read-only memory map.
    ids, splits, labels : sequence of str, n_samples each
        Ids are unique, splits are "train" then "test", labels are class names, or all empty.

    Raises
    ------
    InputError
        If that does not hold.
    """

    images: np.ndarray
    ids: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str]

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def unlabelled(cls, images: np.ndarray, ids: Sequence[str]) -> "Pool":
        """Make a pool of train images alone, whose labels are not known here."""
        return cls(images, ids, ("train",) * len(ids), ("",) * len(ids))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The sorted class names; empty without labels."""
        return tuple(sorted(set(self.labels) - {""}))

    @property
    def is_labelled(self) -> bool:
        """Whether the images have labels, which training and probing need."""
        return bool(self.classes)

    @property
    def has_images(self) -> bool:
        """Whether there are pixels; a pool of ready-made embeddings has none."""
        return self.images.size > 0

    @cached_property
    def n_train(self) -> int:
        """Number of train images; they are the rows 0 to n_train - 1."""
        return sum(split == "train" for split in self.splits)

    @property
    def train_images(self) -> np.ndarray:
        """View of shape (n_train, height, width, 3), uint8; an InputError where there are none."""
        return self._required_images[: self.n_train]

    @property
    def test_images(self) -> np.ndarray:
        """View of shape (n_samples - n_train, height, width, 3), uint8, likewise."""
        return self._required_images[self.n_train :]

    @property
    def _required_images(self) -> np.ndarray:
        if not self.has_images:
            raise InputError(
                "the pool has no images, only embeddings; choose another data.source to train on it"
            )
        return self.images

    @property
    def train_ids(self) -> Sequence[str]:
        """The n_train ids of the train images."""
        return self.ids[: self.n_train]

    @property
    def train_labels(self) -> np.ndarray:
        """Indices into `classes` of shape (n_train,), int64; an InputError without labels."""
        return self._class_indices[: self.n_train]

    @property
    def test_labels(self) -> np.ndarray:
        """Indices into `classes` of shape (n_samples - n_train,), int64, likewise."""
        return self._class_indices[self.n_train :]

    @cached_property
    def _class_indices(self) -> np.ndarray:
        if not self.is_labelled:
            raise InputError(NO_LABELS)
        index_of = {name: index for index, name in enumerate(self.classes)}
        return np.array([index_of[label] for label in self.labels], dtype=np.int64)


def _check(pool: Pool) -> None:
    images = pool.images
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"images of shape {images.shape} and type {images.dtype} "
            "must be uint8 of shape n x height x width x 3"
        )
    for name in ("ids", "splits", "labels"):
        if len(getattr(pool, name)) != len(images):
            raise InputError(f"{len(getattr(pool, name))} {name} do not match {len(images)} images")
    unknown = set(pool.splits) - set(SPLITS)
    if unknown:
        raise InputError(f"split {min(unknown, key=str)!r} must be 'train' or 'test'")
    n_train = sum(split == "train" for split in pool.splits)
    if n_train == 0:
        raise InputError("the pool holds no train image")
    if "test" in pool.splits[:n_train]:
        raise InputError("the train images must come before the test images")
    if len(set(pool.ids)) != len(pool.ids):
        repeated = Counter(pool.ids).most_common(1)[0][0]
        raise InputError(f"the id {repeated!r} stands for two images")
    if "" in pool.labels and set(pool.labels) != {""}:
        raise InputError(
            f"the image {pool.ids[pool.labels.index('')]!r} has no label and others have; "
            "give a label to all or to none"
        )


def load_pool(directory: str | Path = "data/pool", *, needs_labels: bool = False) -> Pool:
    """Read a pool; the images are a read-only memory map.

    Raises
    ------
    InputError
        If a file is missing or truncated, or they do not agree; if labels are needed and absent.
    """
    directory = Path(directory)
    images = read_npy(directory / "images.npy", memory_map=True)
    ids, splits, labels = [], [], []
    for name, split, label in read_rows(directory / "index.csv", HEADER):
        ids.append(name)
        splits.append(sys.intern(split))  # one string for all that are equal
        labels.append(sys.intern(label))
    try:
        pool = Pool(images, tuple(ids), tuple(splits), tuple(labels))
    except InputError as error:
        raise InputError(
            f"{directory} is not a complete pool: {error}; run download again"
        ) from None
    if needs_labels and not pool.is_labelled:
        raise InputError(NO_LABELS)
    return pool


def save_pool(pool: Pool, directory: Path) -> None:
    """Write a pool's files into a new directory, beside what its source left there.

    An `images.npy` that the source left there is the pool's: it is not written a second time.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "images.npy").exists():
        # In C order always: numpy.save would keep another order and so write other bytes.
        write_npy(directory / "images.npy", np.ascontiguousarray(pool.images))
    rows = zip(pool.ids, pool.splits, pool.labels, strict=True)
    write_csv(directory / "index.csv", HEADER, rows)


def embedding_files(directory: str | Path) -> dict[str, Path]:
    """Return the .npy file of a pool's embeddings by each method, those of the active ones.

    Raises
    ------
    InputError
        If there is none.
    """
    files = {file.stem: file for file in sorted(Path(directory).glob("*.npy"))}
    if not files:
        raise InputError(f"{directory} holds no embeddings; run embed")
    return files


def check_budgets(budgets: Iterable[int], n_train: int) -> None:
    """Raise an `InputError` for a budget that exceeds the pool of n_train images."""
    for budget in budgets:
        if budget > n_train:
            raise InputError(
                f"budget {budget} exceeds the pool of {n_train}; lower it in params.yaml"
            )
