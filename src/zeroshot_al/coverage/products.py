"""The first picks: gains by matrix products with the targets, and only those that may decide.

A gain that was right some picks ago is lowered by what the targets that have got a nearer pick
since are covered better, which are few; all gains at once take half the products, as the kernel is
symmetric.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from zeroshot_al.coverage.pairs import MARGIN, NARROW, fixed_point
from zeroshot_al.kcenter.distances import squared_distances

TILE = {"cpu": 512, "cuda": 4096}  # rows and columns of a product
NOISE = 2.0**-22  # of the largest gain that there can be: what float32 sums may be off
MOST = 0.7  # of the targets: from here on, all of them are as fast
DRIFT = 64  # how far differences may lower a gain until it is summed again
SAMPLE = 512  # targets that tell how many pairs there are


class Products:
    """Gains while most pairs of points still matter.

    Parameters
    ----------
    rows, targets, weights, device
        As for `search.Search`.
    """

    def __init__(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, device: torch.device
    ):
        self.points = torch.from_numpy(rows).to(device)
        self.is_whole = len(targets) == len(rows)
        self.target_points = self.points if self.is_whole else self.points[targets]
        self.weights = torch.from_numpy(weights).to(device)
        self.noise = NOISE * weights.sum()
        self.tile = TILE[device.type]
        # A fresh product costs up to a third more in page faults.
        self.buffers = self.points.new_empty((2, self.tile * self.tile))
        self.nearest = torch.full_like(self.weights, torch.inf)
        # What gains were after `seen` picks (-1: never), and when last summed over all targets.
        self.last, self.whole = np.zeros((2, len(rows)))
        self.seen = np.full(len(rows), -1)
        # Of every pick: the targets that it is nearer to, and how far their nearest pick was.
        self.history: list[tuple[Tensor, Tensor]] = []
        self.rescale(1.0)

    def add(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Select a point; return the targets that it is the nearest to, and their distances."""
        products = self.target_points @ self.points[index]
        near = (2 - 2 * products < self.nearest + MARGIN).nonzero()[:, 0]
        point = self.points[index, None]
        parts = near.split(self.tile)
        exact = torch.cat([squared_distances(self.target_points[p], point)[:, 0] for p in parts])
        closer = exact < self.nearest[near]
        near, exact = near[closer], exact[closer]
        self.history.append((near, self.nearest[near]))
        self.nearest[near] = exact
        self.covered[near] = self._values(exact)
        return near.cpu().numpy(), exact.cpu().numpy()

    def rescale(self, sigma: float) -> None:
        """Set the kernel's width: all gains are to be summed again."""
        self.sigma = sigma
        # exp(2 xy / s^2) needs no subtraction, but would overflow where the kernel is narrow.
        self.shift = 0.0 if sigma < NARROW else 2 / sigma**2
        self.scaled_weights = (self.weights * np.exp(-self.shift)).float()
        self.covered = self._values(self.nearest)
        self.history.clear()
        self.seen[:] = -1

    def n_pairs(self) -> float:
        """Estimate how many pairs (point, target) are closer than the target's nearest pick."""
        step = -(-len(self.weights) // SAMPLE)
        nearest, some = self.nearest[::step], self.target_points[::step]
        count = sum(
            (2 - 2 * (tile @ some.T) < nearest).count_nonzero()
            for tile in self.points.split(self.tile)
        )
        return float(count) * step

    def is_long(self, rows: np.ndarray) -> bool:
        """Whether `all_gains` takes less time than `gains` of these rows."""
        if not self.is_whole:
            return False
        changed = np.cumsum([0, *(len(near) for near, _ in reversed(self.history))])
        n_columns = np.append(changed, len(self.weights)).clip(max=len(self.weights))
        return n_columns[self._ages(rows)].sum() > 0.6 * len(self.points) ** 2

    def all_gains(self) -> np.ndarray:
        """Gains of all points where all are targets, float64 (n_samples,), by half the products."""
        gains = self.points.new_zeros(len(self.points), dtype=torch.float64)
        for start in range(0, len(self.points), self.tile):
            rows = slice(start, start + self.tile)
            for first in range(start, len(self.points), self.tile):
                columns = slice(first, first + self.tile)
                kernel = self._kernel(self.points[rows], self.points[columns])
                better = self.buffers[1][: kernel.numel()].view_as(kernel)
                torch.maximum(kernel, self.covered[columns], out=better)
                gains[rows] += better @ self.scaled_weights[columns]
                if first > start:
                    torch.maximum(kernel, self.covered[rows, None], out=better)
                    gains[columns] += self.scaled_weights[rows] @ better
        gains -= self._coverage()
        self.last = gains.cpu().numpy()
        self.whole = self.last.copy()
        self.seen[:] = len(self.history)
        return self.last

    def gains(self, rows: np.ndarray) -> np.ndarray:
        """By how much points would raise the coverage, float64 (n_rows,), up to rounding."""
        ages, n_past = self._ages(rows), len(self.history)
        oldest = ages[ages <= n_past].max(initial=0)
        was = self.nearest.clone()
        first = 1
        while first <= oldest:  # ages of 1, of 2 and 3, of 4 to 7, ... have their targets in common
            end = min(2 * first, n_past + 1)
            states = []
            for age in range(first, end):
                near, distances = self.history[-age]
                was[near] = distances
                states.append(was.clone())
            columns = (was > self.nearest).nonzero()[:, 0]
            if len(columns) > MOST * len(self.weights):
                break
            some = (ages >= first) & (ages < end)
            old = self._values(torch.stack(states)[:, columns])
            self._lower(rows[some], columns, old, ages[some] - first)
            first = end
        self._sum(rows[(ages >= first) | (self.last[rows] < self.whole[rows] / DRIFT)])
        self.seen[rows] = n_past
        return self.last[rows]

    def exact_gains(self, rows: np.ndarray) -> np.ndarray:
        """Gains by exact distances as whole numbers, int64 (n_rows,)."""
        factor, width = fixed_point(self.weights.cpu().numpy()), -(self.sigma**2)
        gains = []
        for left, _ in self._parts(rows, self.tile**2 // len(self.weights)):
            near = 2 - 2 * (left @ self.target_points.T) < self.nearest + MARGIN
            columns = near.any(0).nonzero()[:, 0]
            factors = self.weights[columns] * factor
            distances = squared_distances(left, self.target_points[columns])
            raised = distances.div_(width).exp_().mul_(factors).round_()
            raised -= (torch.exp(self.nearest[columns] / width) * factors).round_()
            gains.append(raised.clamp_(min=0).long().sum(1).cpu().numpy())
        return np.concatenate(gains)

    def _ages(self, rows: np.ndarray) -> np.ndarray:
        """How many picks ago gains were right; one more than there were, if never."""
        return len(self.history) - self.seen[rows]

    def _sum(self, rows: np.ndarray) -> None:
        """Gains over all targets."""
        for left, part in self._parts(rows, self.tile):
            gains = -self._coverage()
            for columns in self._tiles(len(self.weights), len(left)):
                kernel = self._kernel(left, self.target_points[columns])
                better = torch.maximum(kernel, self.covered[columns], out=kernel)
                gains = gains + (better @ self.scaled_weights[columns]).double()
            self.last[part] = self.whole[part] = gains.cpu().numpy()

    def _coverage(self) -> Tensor:
        """What the picks cover, float64 of no dimension."""
        return self.covered.double() @ self.scaled_weights.double()

    def _lower(self, rows: np.ndarray, columns: Tensor, old: Tensor, states: np.ndarray) -> None:
        """Lower gains by what targets (`columns`) were covered since; `old` of `states` before."""
        new, weights = self.covered[columns], self.scaled_weights[columns]
        right = self.target_points[columns]
        before = old @ weights
        for step, (left, part) in enumerate(self._parts(rows, self.tile)):
            state = states[step * self.tile : (step + 1) * self.tile]
            state = torch.from_numpy(state).to(right.device)
            lost = -before[state].double()
            for some in self._tiles(len(columns), len(left)):
                kernel = self._kernel(left, right[some])
                low = old[:, some] if len(old) == 1 else old[:, some].index_select(0, state)
                lost += kernel.clamp_(low, new[some]) @ weights[some]
            self.last[part] -= lost.cpu().numpy()

    def _parts(self, rows: np.ndarray, n_rows: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Points in parts of so many, with their indices."""
        for start in range(0, len(rows), max(1, n_rows)):
            part = rows[start : start + max(1, n_rows)]
            yield self.points[torch.from_numpy(part).to(self.points.device)], part

    def _tiles(self, n_columns: int, n_rows: int) -> list[slice]:
        """Slices of columns of which the products with so many rows fill a buffer."""
        width = self.tile**2 // n_rows
        return [slice(first, first + width) for first in range(0, n_columns, width)]

    def _kernel(self, left: Tensor, right: Tensor) -> Tensor:
        """Scaled kernel values (n_left, n_right), float32, until the next call."""
        if self.sigma < NARROW:  # float32 distances are too coarse
            return self._values(squared_distances(left, right))
        out = self.buffers[0][: len(left) * len(right)].view(len(left), len(right))
        return torch.mm(left * self.shift, right.T, out=out).exp_()

    def _values(self, squared: Tensor) -> Tensor:
        """Scaled kernel values, float32, of squared distances."""
        return torch.exp(self.shift - squared / self.sigma**2).float()
