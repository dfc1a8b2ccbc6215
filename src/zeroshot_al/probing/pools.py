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
class ProbeParams:
    """Params section `probe`.

    Parameters
    ----------
    budgets : tuple of int
        Numbers of labels on resampled pools.
    large_budgets : tuple of int
        Further ones, on all train images, once.
    n_resamples : int
        Pools of each kind.
    n_images : int
        Of a resampled pool, at most; never above 80% of the images.
    n_draws : int
        Random orders of all resamples together; each has 2 at least.
    tail_ratio : int
        The largest class of a long tail to its smallest.
    linear_c : float
        Inverse regularisation of logistic regression.
    seed : int
    """

    budgets: tuple[int, ...]
    large_budgets: tuple[int, ...]
    n_resamples: int
    n_images: int
    n_draws: int
    tail_ratio: int
    linear_c: float
    seed: int

    @property
    def n_random(self) -> int:
        """Random orders of one pool."""
        return max(2, self.n_draws // self.n_resamples)


def draw_sample(n_train: int, params: ProbeParams, rng: np.random.Generator) -> np.ndarray:
    """Draw the images of a resampled pool, int64 pool indices."""
    n_images = min(params.n_images, int(KEPT * n_train))
    return rng.permutation(n_train)[:n_images]


def draw_tail(labels: np.ndarray, params: ProbeParams, rng: np.random.Generator) -> np.ndarray:
    """Draw a long tail: class sizes fall geometrically, from a random class to a random class.

    Parameters
    ----------
    labels : ndarray of shape (n_train,), int64
    params : ProbeParams
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int64
        Pool indices.
    """
    classes, counts = np.unique(labels, return_counts=True)
    shares = float(params.tail_ratio) ** -np.linspace(0, 1, len(classes))
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


def broken_counts(n_train: int, params: ProbeParams) -> tuple[int, int]:
    """Return how many images a pool with broken ones has, and how many broken ones come to them."""
    n_images = min(params.n_images, int(KEPT * n_train))
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
