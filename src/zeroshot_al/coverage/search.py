"""Lazy greedy search: float32 gains propose, exact whole numbers decide.

A gain never rises while points are added, so what it was some picks ago is an upper bound (Minoux
1978), and only points whose bound reaches the best known gain need theirs brought up to date. Where
the kernel narrows from s to s', let p = exp(-u / s^2) be a point's kernel value of a target, q < p
what covers it and r = (s / s')^2: then p^r - q^r <= r (p - q), so bounds grow by r at most.

Gains are made in one of two ways: by products with all targets (`products`), and, once few pairs of
points still matter, from a list of those (`pairs`).
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from zeroshot_al.coverage.pairs import Pairs
from zeroshot_al.coverage.products import Products
from zeroshot_al.kcenter.distances import reference_arithmetic

PAIRS = 1 << 26  # kept in memory, 8 bytes each,
PAIRS_PER_POINT = 128  # or so many a point in a large pool,
SHARE = 32  # but no more than one pair in so many: products are as fast
CHECK_EVERY = 16  # picks, between two estimates of how many pairs are left
CHUNK = 64  # points whose gains are brought up to date first
MANY = 1024  # points brought up to date until it may be all
TOLERANCE = 1e-4  # of a gain: what float32 may be off
REPRESENTATIVE, FAR = "representative", "far"


class Search:
    """Picks by either rule, each of which knows the picks of the other.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        As `rows.centred_rows`.
    targets : ndarray of shape (n_targets,), int64
        The points that are to be covered, ascending.
    weights : ndarray of shape (n_targets,), float64
        What each target counts, in [0, 1].
    device : torch.device
        Where products are computed.
    """

    def __init__(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, device: torch.device
    ):
        self.device = device
        self.rows, self.targets, self.weights = rows, targets, weights
        self.number = np.full(len(rows), -1)  # of a point among the targets
        self.number[targets] = np.arange(len(targets))
        self.n_picks = 0
        self.sigma = 1.0
        self.nearest = np.full(len(targets), np.inf)  # squared distance to the nearest pick
        self.open = self.nearest.copy()  # the same, and -1 for targets that are picks
        self.bounds = np.full(len(rows), weights.sum())  # of gains; -inf for picks
        self.is_fresh = np.zeros(len(rows), dtype=bool)  # gains that are known
        self.state: Products | Pairs = Products(rows, targets, weights, device)

    def run(self, initial: Sequence[int], reasons: Iterator[str], n_select: int) -> list[int]:
        """Pick `n_select` points after the initial ones, each for the next reason."""
        order = []
        with reference_arithmetic(self.device):
            self._shrink()
            for index in initial:
                self._add(int(index))
            for reason in islice(reasons, n_select):
                order.append(self._farthest() if reason == FAR else self._representative())
                self._add(order[-1])
        return order

    def _representative(self) -> int:
        """The unselected point that raises the coverage most, the first of equals."""
        rows, best, n_tried = np.array([self.bounds.argmax()]), -np.inf, CHUNK
        while len(rows):
            if n_tried > MANY and isinstance(self.state, Products) and self.state.is_long(rows):
                rows = np.flatnonzero(self.bounds > -np.inf)
                self.bounds[rows] = self.state.all_gains()[rows]
            else:
                if len(rows) > n_tried:
                    # The first ones tell, up to a few, which others may be better.
                    rows = rows[self.bounds[rows].argpartition(-n_tried)[-n_tried:]]
                    n_tried *= 4
                self.bounds[rows] = self.state.gains(rows)
            self.is_fresh[rows] = True
            best = max(best, self.bounds[rows].max())
            floor = best - TOLERANCE * best - self.state.noise
            window = np.flatnonzero(self.bounds >= floor)
            rows = window[~self.is_fresh[window]]
        if len(window) > 1:
            window = window[self.state.exact_gains(window).argmax(keepdims=True)]
        return int(window[0])

    def _farthest(self) -> int:
        """The unselected target farthest from all picks, the first of equals."""
        return int(self.targets[self.open.argmax()])

    def _add(self, index: int) -> None:
        """Select a point; narrow the kernel when the picks have doubled."""
        closer, distances = self.state.add(index)
        self.nearest[closer] = self.open[closer] = distances
        if self.number[index] >= 0:
            self.open[self.number[index]] = -1
        self.bounds[index] = -np.inf
        self.is_fresh[:] = False
        self.n_picks += 1
        if self.n_picks > 1 and self.n_picks & (self.n_picks - 1) == 0:
            median = float(np.median(np.sqrt(self.nearest)))
            if 0 < median < self.sigma:
                self.bounds = (self.sigma / median) ** 2 * (self.bounds + self.state.noise)
                self.sigma = median
                self.state.rescale(median)
            if isinstance(self.state, Pairs):
                self.state.drop()
        if self.n_picks in (4, 8) or self.n_picks % CHECK_EVERY == 0:
            self._shrink()

    def _shrink(self) -> None:
        """Go on with pairs alone once they are few enough to keep."""
        products, most = self.state, most_pairs(len(self.rows), len(self.targets))
        if isinstance(products, Products) and products.n_pairs() <= most:
            self.bounds += products.noise
            rows = (products.points, products.target_points)
            self.state = Pairs(*rows, self.nearest.copy(), self.weights, self.sigma)


def most_pairs(n_samples: int, n_targets: int) -> int:
    """How many pairs of points a search keeps in memory."""
    return min(max(PAIRS, PAIRS_PER_POINT * n_samples), n_samples * n_targets // SHARE)
