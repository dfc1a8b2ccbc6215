"""Covering radius against the number of labels, of an order and of random orders."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.gallery.covering_radii import covering_radii, find_knee

N_COUNTS = 240  # numbers of labels at which the order's radius is drawn
N_RANDOM_COUNTS = 25  # and that of random orders


@dataclass(frozen=True, eq=False)
class RadiusCurve:
    """The curve that the gallery draws.

    Parameters
    ----------
    counts : list of int, length n_counts
        Numbers of labels, from 1 to the budget.
    radii : ndarray of shape (n_counts,), float64
        The order's covering radius with them.
    random_counts : list of int, length n_random_counts
        From 1 to the budget.
    random_radii : ndarray of shape (n_random, n_random_counts), float64
    knee : int or None
        Suggested number of labels, one of `counts`.
    """

    counts: list[int]
    radii: np.ndarray
    random_counts: list[int]
    random_radii: np.ndarray
    knee: int | None

    @property
    def equals_random_at(self) -> int | None:
        """Labels after which the order covers the pool as random does at the end; None if never."""
        reached = np.flatnonzero(self.radii[:-1] <= self.random_radii[:, -1].mean())
        return self.counts[reached[0]] if len(reached) else None


def measure_curve(
    rows: np.ndarray, order: Sequence[int], labelled: Sequence[int], n_random: int, seed: int
) -> RadiusCurve:
    """Compare the first picks of an order with those of random orders.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    order : sequence of int, length budget
        Pool indices by rank.
    labelled : sequence of int
        Pool indices that are labelled already.
    n_random, seed : int
        How many random orders to draw, and from which seed.
    """
    budget = len(order)
    counts = _spread(budget, N_COUNTS, N_COUNTS // 4)
    radii = covering_radii(rows, order, counts.tolist(), labelled)
    knee = find_knee(counts.astype(float), radii)
    random_counts = _spread(budget, N_RANDOM_COUNTS, N_RANDOM_COUNTS // 2)
    unlabelled = np.setdiff1d(np.arange(len(rows)), labelled)
    orders = (np.random.default_rng([seed, i]).permutation(unlabelled) for i in range(n_random))
    return RadiusCurve(
        counts=counts.tolist(),
        radii=radii,
        random_counts=random_counts.tolist(),
        random_radii=np.stack(
            [covering_radii(rows, order, random_counts, labelled) for order in orders]
        ),
        knee=None if knee is None else int(counts[knee]),
    )


def _spread(budget: int, n_even: int, n_early: int) -> np.ndarray:
    """Give about n_even numbers from 1 to budget evenly, and n_early more near the beginning."""
    numbers = np.concatenate([np.linspace(1, budget, n_even), np.geomspace(1, budget, n_early)])
    return np.unique(np.rint(numbers).astype(int))
