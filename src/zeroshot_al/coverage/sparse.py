"""All later picks: the pairs of points that still matter are few, and kept in memory.

A pick can raise the coverage of a target only if it is closer than the target's nearest pick, and
that distance only falls. After k picks of n points some n^2 / k pairs are left: no product is
needed any more, whatever the kernel's width. Gains are sums of whole numbers, so they have no
rounding that could grow or depend on an order of additions.
"""

import numpy as np
import torch

CHUNK = 1 << 20  # pairs
PICKED = -(2**62)  # the gain of a pick: no sum of gains brings it back


def fixed_point(weights: np.ndarray | torch.Tensor) -> float:
    """The power of two by which kernel values are multiplied before they are rounded.

    All sums stay below 2^62, which int64 holds, and all values below 2^52, which float64 holds.
    """
    return 2.0 ** min(52, 61 - int(np.ceil(np.log2(float(weights.sum())))))


class Sparse:
    """The state of the search when only a list of pairs matters.

    Parameters
    ----------
    of_target, of_point : ndarray of shape (n_pairs,), int32
        Number of the target, ascending, and point, ascending in each target.
    distances : ndarray of shape (n_pairs,), float32
        Squared distance of the two.
    nearest : ndarray of shape (n_targets,), float32
        Squared distance of each target to the nearest pick, infinite without one.
    targets : ndarray of shape (n_targets,), int64
        The targets' indices into the points, ascending.
    weights : ndarray of shape (n_targets,), float64
        What each target counts, in [0, 1].
    selected : ndarray of shape (n_samples,), bool
        The picks so far.
    sigma : float
        The kernel's width.
    """

    def __init__(
        self,
        of_target: np.ndarray,
        of_point: np.ndarray,
        distances: np.ndarray,
        nearest: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        selected: np.ndarray,
        sigma: float,
    ):
        self.of_target, self.of_point, self.distances = of_target, of_point, distances
        self.nearest, self.targets = nearest, targets
        self.factors = weights * fixed_point(weights)
        self.selected = selected
        self.number = np.full(len(selected), -1)  # of a point among the targets
        self.number[targets] = np.arange(len(targets))
        self.rescale(sigma)

    def representative(self) -> int:
        """The unselected point that raises the coverage most, the first of equals."""
        return int(self.gains.argmax())

    def farthest(self) -> int:
        """The unselected target farthest from all picks, the first of equals."""
        return int(self.targets[self.open.argmax()])

    def add(self, index: int) -> None:
        """Select a point."""
        pairs = self.pairs_of_point[self.first_of_point[index] : self.first_of_point[index + 1]]
        pairs = pairs[self.distances[pairs] < self.nearest[self.of_target[pairs]]]
        closer, new = self.of_target[pairs], self.distances[pairs]
        covered = self._values(new, self.factors[closer])
        # All pairs of these targets: ranges of the list, behind one another.
        starts = self.first_of_target[closer]
        lengths = self.first_of_target[closer + 1] - starts
        row = np.repeat(np.arange(len(closer)), lengths)
        touched = np.arange(len(row)) + (starts - lengths.cumsum() + lengths)[row]
        values = self._values(self.distances[touched], self.factors[closer][row])
        lost = np.maximum(values - self.covered[closer][row], 0)
        lost -= np.maximum(values - covered[row], 0)
        np.subtract.at(self.gains, self.of_point[touched], lost)
        self.nearest[closer] = self.open[closer] = new
        self.covered[closer] = covered
        self._close(index)

    def rescale(self, sigma: float) -> None:
        """Narrow the kernel, and drop the pairs that no longer matter."""
        self.sigma = sigma
        kept = self.distances < self.nearest[self.of_target]
        self.of_target, self.of_point = self.of_target[kept], self.of_point[kept]
        self.distances = self.distances[kept]
        self.first_of_target = _firsts(self.of_target, len(self.targets))
        self.first_of_point = _firsts(self.of_point, len(self.selected))
        self.pairs_of_point = self.of_point.argsort(kind="stable").astype(np.int32)
        self.covered = self._values(self.nearest, self.factors)
        self.gains = np.zeros(len(self.selected), dtype=np.int64)
        for start in range(0, len(self.distances), CHUNK):
            pairs = slice(start, start + CHUNK)
            target = self.of_target[pairs]
            values = self._values(self.distances[pairs], self.factors[target])
            raised = np.maximum(values - self.covered[target], 0)
            np.add.at(self.gains, self.of_point[pairs], raised)
        self.open = self.nearest.copy()  # -1 for targets that are picks
        for index in self.selected.nonzero()[0]:
            self._close(index)

    def _close(self, index: int) -> None:
        """Take a pick out of what can be picked."""
        self.selected[index] = True
        self.gains[index] = PICKED
        if self.number[index] >= 0:
            self.open[self.number[index]] = -1

    def _values(self, distances: np.ndarray, factors: np.ndarray) -> np.ndarray:
        """Kernel values as whole numbers, int64; `factors` hold the weights."""
        values = np.exp(distances.astype(np.float64) / -(self.sigma**2))
        values *= factors
        return np.rint(values, out=values).astype(np.int64)


def _firsts(values: np.ndarray, n_values: int) -> np.ndarray:
    """Where each value begins once they are sorted, and the end, int64 (n_values + 1,)."""
    return np.concatenate([[0], np.bincount(values, minlength=n_values).cumsum()])
