"""All later picks: gains from a list of the pairs of points that still matter.

A pick can raise the coverage of a target only if it is closer than the target's nearest pick, and
that distance only falls. After k picks of n points some n^2 / k pairs are left: no product is
needed any more.
"""

import numpy as np
import torch
from torch import Tensor

MARGIN = 2.0**-17  # of squared distances: what float32 products of unit rows may be off
NARROW = 0.2  # a kernel's width for which float32 distances are too coarse
NOISE = 2.0**-17  # of a gain near 0, likewise
TILE = {"cpu": (1024, 2048), "cuda": (8192, 8192)}  # rows and columns of a product
CHUNK = 1 << 17  # coordinates of exact distances at once


class Pairs:
    """Gains, and the distances to a pick, from the pairs that still matter.

    Parameters
    ----------
    points, target_points : Tensor of shape (n_samples, n_dims) and (n_targets, n_dims), float32
        Canonical rows, on the device that computes the products.
    nearest : ndarray of shape (n_targets,), float64
        Squared distance of each target to its nearest pick, infinite without one; kept.
    weights : ndarray of shape (n_targets,), float64
        What each target counts, in [0, 1].
    sigma : float
        The kernel's width.
    """

    def __init__(
        self,
        points: Tensor,
        target_points: Tensor,
        nearest: np.ndarray,
        weights: np.ndarray,
        sigma: float,
    ):
        self.nearest, self.weights = nearest, weights
        self.factor = fixed_point(weights)
        self.noise = NOISE
        self.is_exact = False  # the list's distances
        floors = torch.from_numpy(1 - _limits(nearest) / 2).to(points.device)
        n_rows, n_columns = TILE[points.device.type]
        lengths, of_target, distances = [], [], []
        for rows in points.split(n_rows):
            found = []
            for start in range(0, len(target_points), n_columns):
                columns = slice(start, start + n_columns)
                products = rows @ target_points[columns].T
                row, target = _true(products > floors[columns])
                far = (2 - 2 * products[row, target]).cpu().numpy()
                found.append((row.cpu().numpy(), target.int().cpu().numpy() + np.int32(start), far))
            row, target, far = (np.concatenate(parts) for parts in zip(*found, strict=True))
            by_row = row.astype(np.uint16).argsort(kind="stable")  # a radix sort
            lengths.append(np.bincount(row, minlength=len(rows)))
            of_target.append(target[by_row])
            distances.append(far[by_row])
        self.points, self.target_points = points.cpu().numpy(), target_points.cpu().numpy()
        self.of_target, self.distances = np.concatenate(of_target), np.concatenate(distances)
        self.first = np.concatenate([[0], np.concatenate(lengths).cumsum()])
        self.rescale(sigma)

    def add(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Select a point; return the targets that it is the nearest to, and their distances."""
        targets = self.of_target[self.first[index] : self.first[index + 1]]
        exact = squared_distances_of_pairs(
            self.points, np.full(len(targets), index), self.target_points, targets
        )
        closer = exact < self.nearest[targets]
        targets, exact = targets[closer], exact[closer]
        self.nearest[targets] = exact
        self.covered[targets] = np.exp(exact / -(self.sigma**2))
        return targets, exact

    def rescale(self, sigma: float) -> None:
        """Set the kernel's width."""
        self.sigma = sigma
        self.covered = np.exp(self.nearest / -(sigma**2)).astype(np.float32)
        if sigma < NARROW and not self.is_exact:
            of_point = np.repeat(np.arange(len(self.points)), np.diff(self.first))
            self.distances = squared_distances_of_pairs(
                self.points, of_point, self.target_points, self.of_target
            ).astype(np.float32)
            self.is_exact = True

    def drop(self) -> None:
        """Drop the pairs that no longer matter."""
        kept = self.distances < _limits(self.nearest)[self.of_target]
        self.first = np.concatenate([[0], kept.cumsum()])[self.first]
        self.of_target, self.distances = self.of_target[kept], self.distances[kept]

    def gains(self, rows: np.ndarray) -> np.ndarray:
        """By how much points would raise the coverage, float64 (n_rows,), up to rounding."""
        row, pairs = self._of(rows)
        targets = self.of_target[pairs]
        raised = self.distances[pairs]
        raised /= -(self.sigma**2)
        np.exp(raised, out=raised)
        raised -= self.covered[targets]
        np.maximum(raised, 0, out=raised)
        return np.bincount(row, raised * self.weights[targets], minlength=len(rows))

    def exact_gains(self, rows: np.ndarray) -> np.ndarray:
        """Gains by exact distances as whole numbers, int64 (n_rows,)."""
        row, pairs = self._of(rows)
        targets = self.of_target[pairs]
        exact = squared_distances_of_pairs(self.points, rows[row], self.target_points, targets)
        factors, width = self.weights[targets] * self.factor, -(self.sigma**2)
        raised = np.rint(np.exp(exact / width) * factors)
        raised -= np.rint(np.exp(self.nearest[targets] / width) * factors)
        gains = np.zeros(len(rows), dtype=np.int64)
        np.add.at(gains, row, np.maximum(raised, 0).astype(np.int64))
        return gains

    def _of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of some points: the place in `rows`, and in the list."""
        lengths = self.first[rows + 1] - self.first[rows]
        row = np.repeat(np.arange(len(rows)), lengths)
        shift = self.first[rows] - lengths.cumsum() + lengths
        return row, np.arange(len(row)) + shift[row]


def _true(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of the true values."""
    if mask.device.type == "cpu":  # NumPy finds a few true values five times as fast
        found = torch.from_numpy(np.flatnonzero(mask.numpy()))
    else:
        found = mask.flatten().nonzero()[:, 0]
    row = found.div(mask.shape[1], rounding_mode="floor")
    return row, found - row * mask.shape[1]


def _limits(nearest: np.ndarray) -> np.ndarray:
    """Squared distances from which a pair does not matter, float32; none is below 0."""
    return np.where(nearest > 0, nearest + MARGIN, -1).astype(np.float32)


def fixed_point(weights: np.ndarray) -> float:
    """The power of two by which kernel values are multiplied before they are rounded.

    All sums stay below 2^62, which int64 holds, and all values below 2^52, which float64 holds:
    sums have no rounding that could depend on an order of additions.
    """
    return 2.0 ** min(52, 61 - int(np.ceil(np.log2(float(weights.sum())))))


def squared_distances_of_pairs(
    left: np.ndarray, of_left: np.ndarray, right: np.ndarray, of_right: np.ndarray
) -> np.ndarray:
    """Squared distances of the rows `of_left` of `left` to `of_right` of `right`.

    They are float64 (n_pairs,) and exact, as the rows are canonical.
    """
    out = np.empty(len(of_left))
    step = max(1, CHUNK // left.shape[1])
    for start in range(0, len(out), step):
        pairs = slice(start, start + step)
        difference = left[of_left[pairs]].astype(np.float64)
        difference -= right[of_right[pairs]]
        np.einsum("ij,ij->i", difference, difference, out=out[pairs])
    return out
