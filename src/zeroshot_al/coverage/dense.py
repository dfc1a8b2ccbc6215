"""The first picks: kernel values by matrix products, and only for points that may be the best.

A gain never rises while points are added, so a gain of some picks ago is an upper bound (lazy
evaluation, Minoux 1978). A working set of the best points keeps its kernel rows in memory and its
gains up to date; all others have bounds. As long as the best of the working set beats all bounds it
is the pick. Where the width of the kernel shrinks from s to s', bounds grow by (s / s')^2: with
p = exp(-u / s^2) > q = exp(-v / s^2) and r = (s / s')^2 >= 1, p^r - q^r <= r (p - q).

Gains of float32 products only propose: points within `TOLERANCE` of the best one are compared by
exact distances, in whole numbers, as `sparse` does.
"""

import math

import numpy as np
import torch
from torch import Tensor

from zeroshot_al.coverage.rows import squared_distances_of_pairs
from zeroshot_al.coverage.sparse import Sparse, fixed_point
from zeroshot_al.kcenter.distances import squared_distances

TOLERANCE = 1e-4  # of a gain: what float32 may be off
NOISE = 2.0**-20  # of the largest gain that there can be, likewise
MARGIN = 2.0**-17  # of a squared distance, likewise
NARROW = 0.15  # a kernel's width for which float32 distances are too coarse
SAMPLE = 512  # targets that tell how many pairs there are


class Dense:
    """The state of the search while most pairs of points still matter.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows, on the device that computes.
    targets : Tensor of shape (n_targets,), int64
        The points that are to be covered, ascending.
    weights : Tensor of shape (n_targets,), float64
        What each target counts, in [0, 1].
    """

    def __init__(self, points: Tensor, targets: Tensor, weights: Tensor):
        self.points, self.targets, self.weights = points, targets, weights
        device = points.device
        whole = len(targets) == len(points)
        self.target_points = points if whole else points[targets]
        on_gpu = device.type == "cuda"
        self.tile = 4096 if on_gpu else 1024
        self.n_working = 2048 if on_gpu else 256
        self.n_working = min(self.n_working, len(points))
        self.nearest = points.new_full((len(targets),), math.inf)
        self.covered = points.new_zeros(len(targets))
        self.sigma = 1.0
        # Upper bounds of the gains; the sum of the weights bounds all, as no kernel value passes 1.
        self.bounds = torch.full((len(points),), float(weights.sum()), device=device).double()
        self.fresh = torch.zeros(len(points), dtype=torch.bool, device=device)
        self.selected = torch.zeros_like(self.fresh)
        self.working = targets[:0]
        self.kernel = points.new_empty((self.n_working, len(targets)))

    def representative(self) -> int:
        """The unselected point that raises the coverage most, the first of equals."""
        stale = self._stale()
        if len(stale):
            while len(stale):
                self._evaluate(stale)
                stale = self._stale()
            self._hold()
        window = (self.bounds >= self._threshold()).nonzero()[:, 0]
        if len(window) > 1:
            window = window[self._exact_gains(window).argmax()]
        return int(window)

    def farthest(self) -> int:
        """The unselected target farthest from all picks, the first of equals."""
        distances = self.nearest.masked_fill(self.selected[self.targets], -1)
        return int(self.targets[distances.argmax()])

    def add(self, index: int) -> None:
        """Select a point."""
        products = self.target_points @ self.points[index]
        near = (2 - 2 * products < self.nearest + MARGIN).nonzero()[:, 0]
        exact = squared_distances_of_pairs(
            self.points, torch.full_like(near, index), self.target_points, near
        )
        closer = exact < self.nearest[near]
        near, exact = near[closer], exact[closer]
        new = torch.exp(exact / -(self.sigma**2))
        if len(self.working):
            self._lower_working(near, self.covered[near], new)
        self.nearest[near], self.covered[near] = exact, new
        self.fresh.zero_()
        self.fresh[self.working] = True
        self.selected[index] = True
        self.bounds[index] = -math.inf

    def rescale(self, sigma: float) -> None:
        """Narrow the kernel."""
        # Below the noise of float32 gains nothing is known that could be multiplied.
        self.bounds += NOISE * self.weights.sum()
        self.bounds *= (self.sigma / sigma) ** 2
        self.sigma = sigma
        self.covered = torch.exp(self.nearest / -(sigma**2))
        self.fresh.zero_()
        self.working = self.working[:0]

    def n_pairs(self) -> float:
        """Estimate how many pairs (point, target) are closer than the target's nearest pick."""
        step = -(-len(self.targets) // SAMPLE)
        nearest, some = self.nearest[::step], self.target_points[::step]
        count = sum(
            (2 - 2 * (tile @ some.T) < nearest).count_nonzero()
            for tile in self.points.split(self.tile)
        )
        return float(count) * step

    def sparse(self) -> Sparse:
        """The same state, with the pairs that still matter and no other."""
        of_target, of_point, distances = [], [], []
        for start in range(0, len(self.targets), self.tile):
            rows = slice(start, start + self.tile)
            limit = (1 - self.nearest[rows, None] / 2) - MARGIN
            parts = []
            for first in range(0, len(self.points), self.tile):
                products = self.target_points[rows] @ self.points[first : first + self.tile].T
                target, point = (products > limit).nonzero().unbind(1)
                target, point = target + start, point + first
                exact = squared_distances_of_pairs(self.target_points, target, self.points, point)
                kept = exact < self.nearest[target]
                parts.append((target[kept], point[kept], exact[kept]))
            target, point, exact = (torch.cat(columns) for columns in zip(*parts, strict=True))
            by_target = target.argsort(stable=True)
            of_target.append(target[by_target].int().cpu().numpy())
            of_point.append(point[by_target].int().cpu().numpy())
            distances.append(exact[by_target].cpu().numpy())
        return Sparse(
            np.concatenate(of_target), np.concatenate(of_point), np.concatenate(distances),
            self.nearest.cpu().numpy(), self.targets.cpu().numpy(), self.weights.cpu().numpy(),
            self.selected.cpu().numpy(), self.sigma,
        )  # fmt: skip

    def _threshold(self) -> Tensor:
        """What a gain must reach to be, within the tolerance, the best of those up to date."""
        best = self.bounds.masked_fill(~self.fresh, -math.inf).max()
        return best - TOLERANCE * best.abs()

    def _stale(self) -> Tensor:
        """Points, best bounds first, of which only a bound is known, and which may be the best."""
        stale = (~self.fresh & ~self.selected & (self.bounds >= self._threshold())).nonzero()[:, 0]
        best = self.bounds[stale].topk(min(len(stale), 2 * self.n_working)).indices
        return stale[best]

    def _hold(self) -> None:
        """Make the points with the best bounds the working set."""
        self.working = self.bounds.topk(self.n_working).indices
        self.working = self.working[~self.selected[self.working]]
        self._evaluate(self.working, keep=True)

    def _evaluate(self, rows: Tensor, keep: bool = False) -> None:
        """Bring the bounds of these points up to date; `keep` their kernel values."""
        for start in range(0, len(rows), self.tile):
            some = rows[start : start + self.tile]
            left = self.points[some]
            gains = self.bounds.new_zeros(len(some))
            for first in range(0, len(self.targets), self.tile):
                columns = slice(first, first + self.tile)
                kernel = self._kernel(left, self.target_points[columns])
                if keep:
                    self.kernel[start : start + len(some), columns] = kernel
                kernel.sub_(self.covered[columns]).relu_()
                gains += kernel @ self.weights[columns].to(kernel.dtype)
            self.bounds[some] = gains
        self.fresh[rows] = True

    def _kernel(self, left: Tensor, right: Tensor) -> Tensor:
        """Kernel values (n_left, n_right); in float64 where float32 is too coarse."""
        if self.sigma < NARROW:
            return squared_distances(left, right).div_(-(self.sigma**2)).exp_()
        scale = 2 / self.sigma**2
        return (left @ right.T).sub_(1).mul_(scale).clamp_(max=0).exp_()

    def _lower_working(self, near: Tensor, old: Tensor, new: Tensor) -> None:
        """Take from the gains of the working set what the new pick covers."""
        for start in range(0, len(near), self.tile):
            part = slice(start, start + self.tile)
            kernel = self.kernel[: len(self.working)].index_select(1, near[part])
            lost = (kernel - old[part]).relu_() - kernel.sub_(new[part]).relu_()
            self.bounds[self.working] -= lost @ self.weights[near[part]].float()

    def _exact_gains(self, rows: Tensor) -> Tensor:
        """Gains from exact distances as whole numbers, int64 (n_rows,)."""
        gains = torch.zeros_like(rows)
        factor = fixed_point(self.weights)
        step = max(1, (1 << 22) // len(self.targets))
        for some, out in zip(rows.split(step), gains.split(step), strict=True):
            products = self.points[some] @ self.target_points.T
            row, target = (2 - 2 * products < self.nearest + MARGIN).nonzero().unbind(1)
            exact = squared_distances_of_pairs(self.points, some[row], self.target_points, target)
            width, weight = -(self.sigma**2), self.weights[target] * factor
            kernel = (torch.exp(exact.double() / width) * weight).round()
            covered = (torch.exp(self.nearest[target].double() / width) * weight).round()
            out.index_add_(0, row, (kernel - covered).clamp_(min=0).long())
        return gains
