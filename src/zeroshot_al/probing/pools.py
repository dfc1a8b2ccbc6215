"""The pools on which orders are compared, each made of the train images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 0.8  # of the images, or of a class, at most: so that resamples differ
COARSE = {  # pools whose classes fall into coarse ones
    "vehicle": frozenset({"airplane", "automobile", "ship", "truck"}),
    "animal": frozenset({"bird", "cat", "deer", "dog", "frog", "horse"}),
}
BROKEN_PART, BROKEN_IMAGES, BROKEN_RATE = 0.1, 1000, 0.05


@dataclass(frozen=True)
class BudgetsParams:
    """Increasing numbers of labels: on the pools drawn, and further ones on all images."""

    drawn: tuple[int, ...]
    all: tuple[int, ...]


@dataclass(frozen=True)
class PoolsParams:
    """What is drawn.

    Parameters
    ----------
    n_resamples : int
        Pools of each kind.
    n_images : int
        Of a pool, at most; never above 80% of the images.
    n_random : int
        Random orders of each pool.
    tail : int
        The largest class of a long tail to its smallest.
    seed : int
    """

    n_resamples: int
    n_images: int
    n_random: int
    tail: int
    seed: int


@dataclass(frozen=True)
class ProbeParams:
    """Params section `probe`; `linear_c` is the inverse regularisation of logistic regression."""

    budgets: BudgetsParams
    pools: PoolsParams
    linear_c: float


def draw_sample(n_train: int, params: PoolsParams, rng: np.random.Generator) -> np.ndarray:
    """Draw the images of a resampled pool, int64 pool indices."""
    return rng.permutation(n_train)[: _n_drawn(n_train, params)]


def _n_drawn(n_train: int, params: PoolsParams) -> int:
    return min(params.n_images, int(KEPT * n_train))


def draw_tail(labels: np.ndarray, params: PoolsParams, rng: np.random.Generator) -> np.ndarray:
    """Draw a long tail: class sizes fall geometrically, from a random class to a random class.

    Parameters
    ----------
    labels : ndarray of shape (n_train,), int64
    params : PoolsParams
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64
        Pool indices.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = float(params.tail) ** -np.linspace(0, 1, len(classes))
    largest = min(params.n_images / shares.sum(), KEPT * counts.min())
    sizes = np.maximum(1, np.rint(largest * shares)).astype(int)
    return np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == name))[:size]
            for name, size in zip(rng.permutation(classes), sizes, strict=True)
        ]
    )


def coarse_codes(classes: Sequence[str]) -> np.ndarray | None:
    """Return the coarse class of each class, int64; None for a pool without coarse ones."""
    if set(classes) != frozenset().union(*COARSE.values()):
        return None
    return np.array([name in COARSE["animal"] for name in classes], dtype=np.int64)


def broken_counts(n_train: int, params: PoolsParams) -> tuple[int, int]:
    """Return how many images a pool with broken ones has, and how many broken ones come to them."""
    n_images = _n_drawn(n_train, params)
    n_whole = min(n_images, max(BROKEN_IMAGES, round(BROKEN_PART * n_images)))
    return n_whole, max(1, round(BROKEN_RATE * n_whole))


def seen_all_after(labels: np.ndarray, n_classes: int) -> int | None:
    """Count the picks until each class is among them; None if one never is.

    Parameters
    ----------
    labels : ndarray of shape (n_picks,), int64
        Of the picks by rank.
    n_classes : int
        Of the pool.
    """
    found, first = np.unique(labels, return_index=True)
    return int(first.max()) + 1 if len(found) == n_classes else None
