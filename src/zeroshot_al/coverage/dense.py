"""The first picks: kernel values by matrix products, and only those that may decide.

A gain never rises while points are added, so what it was some picks ago is an upper bound (lazy
evaluation, Minoux 1978), and only the points with the best bounds need theirs brought up to date:
over the targets that have got a nearer pick since. Where the kernel narrows from s to s', let
p = exp(-u / s^2) be a point's kernel value of a target, q < p what covers it, r = (s / s')^2. Then
p^r - q^r <= r p^(r - 1) (p - q), where p is at most that of the nearest target.

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
MOST = 0.7  # of the targets: from here on, all of them are as fast
DRIFT = 16  # how far differences may lower a gain until it is summed again
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
        self.weights32 = weights.float()
        self.is_whole = len(targets) == len(points)
        self.target_points = points if self.is_whole else points[targets]
        self.number = torch.full((len(points),), -1, device=device)  # of a point among the targets
        self.number[targets] = torch.arange(len(targets), device=device)
        self.tile, self.chunk = (4096, 4096) if device.type == "cuda" else (1024, 64)
        # A fresh product costs up to a third more in page faults.
        self.buffers = points.new_empty((2, self.tile * self.tile))
        self.nearest = points.new_full((len(targets),), math.inf)
        self.covered = points.new_zeros(len(targets))
        self.sigma = 1.0
        # What gains were `seen` picks ago, or bounds of them (-1); `whole` when they were last
        # summed over all targets; `closest` is the squared distance to the nearest other target.
        self.bounds = torch.full((len(points),), math.inf, dtype=torch.float64, device=device)
        self.seen = torch.full_like(self.number, -1)
        self.whole = self.bounds.clone()
        self.closest = points.new_full((len(points),), -1)
        self.selected = torch.zeros_like(self.number, dtype=torch.bool)
        self.n_sums = 0  # over all points
        # Of every pick: the targets that it is nearer to, and how far their nearest pick was.
        self.history: list[tuple[Tensor, Tensor]] = []

    def representative(self) -> int:
        """The unselected point that raises the coverage most, the first of equals."""
        if not self.n_sums:
            self._sum_all()
        n_tried = self.chunk
        while len(stale := self._stale(n_tried)):
            n_tried *= 4  # the first ones tell, up to a few, which others may be better
            self._refresh(stale)
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
        self.history.append((near, self.nearest[near]))
        self.nearest[near] = exact
        self.covered[near] = torch.exp(exact / -(self.sigma**2))
        self.selected[index] = True
        self.bounds[index] = -math.inf

    def rescale(self, sigma: float) -> None:
        """Narrow the kernel."""
        ratio = (self.sigma / sigma) ** 2
        growth = ratio * torch.exp(self.closest.double() * ((1 - ratio) / self.sigma**2))
        # Below the noise of float32 gains nothing is known that could be multiplied.
        self.bounds += NOISE * self.weights.sum()
        own = self._own_gains()
        self.sigma = sigma
        self.covered = torch.exp(self.nearest / -(sigma**2))
        self.bounds = (self.bounds - own) * growth.clamp(max=ratio) + self._own_gains()
        self.bounds[self.selected] = -math.inf
        self.seen.fill_(-1)

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

    def _own_gains(self) -> Tensor:
        """What each point adds to its own coverage, float64 (n_samples,); 0 if it is no target."""
        own = torch.zeros_like(self.bounds)
        own[self.targets] = self.weights * (1 - self.covered)
        return own

    def _threshold(self) -> Tensor:
        """What a gain must reach to be, within the tolerance, the best of those up to date."""
        best = self.bounds.masked_fill(self.seen < len(self.history), -math.inf).max()
        return best - TOLERANCE * best.abs()

    def _stale(self, n_most: int) -> Tensor:
        """Points, best bounds first, of which only a bound is known, and which may be the best."""
        stale = (self.seen < len(self.history)) & (self.bounds >= self._threshold())
        stale = (stale & ~self.selected).nonzero()[:, 0]
        return stale[self.bounds[stale].topk(min(len(stale), n_most)).indices]

    def _sum_all(self) -> None:
        """Gains and nearest targets of all points; where all are targets, by half the products."""
        gains, closest = torch.zeros_like(self.bounds), torch.zeros_like(self.closest)
        for start in range(0, len(self.points), self.tile):
            rows = slice(start, start + self.tile)
            for first in range(start if self.is_whole else 0, len(self.targets), self.tile):
                columns = slice(first, first + self.tile)
                kernel = self._kernel(self.points[rows], self.target_points[columns])
                gains[rows] += self._raised(kernel, self.covered[columns]) @ self.weights32[columns]
                mirrored = self.is_whole and first > start
                if mirrored:
                    raised = self._raised(kernel, self.covered[rows, None])
                    gains[columns] += self.weights32[rows] @ raised
                if not self.n_sums:
                    column = self.number[rows] - first
                    own = ((column >= 0) & (column < kernel.shape[1])).nonzero()[:, 0]
                    kernel[own, column[own]] = 0  # no point is its own neighbour
                    closest[rows] = torch.maximum(closest[rows], kernel.amax(1))
                    if mirrored:
                        closest[columns] = torch.maximum(closest[columns], kernel.amax(0))
        if not self.n_sums:
            self.closest = (-(self.sigma**2) * closest.log() - MARGIN).clamp_(0, 4)
        self.n_sums += 1
        self.bounds = gains.masked_fill_(self.selected, -math.inf)
        self.whole = self.bounds.clone()
        self.seen.fill_(len(self.history))

    def _refresh(self, rows: Tensor) -> None:
        """Bring gains up to date: by what changed since they were, or over all targets."""
        ages = len(self.history) - self.seen[rows]
        was = self.nearest.clone()
        first, end = 1, 2  # ages of 1, of 2 and 3, of 4 to 7, ... have their targets in common
        while end <= len(self.history) and bool((ages >= first).any()):
            states = []
            for age in range(first, end):
                near, distances = self.history[-age]
                was[near] = distances
                states.append(was.clone())
            columns = (was > self.nearest).nonzero()[:, 0]
            if MOST * len(self.targets) < len(columns):
                break
            some = (ages >= first) & (ages < end)
            old = torch.exp(torch.stack(states)[:, columns] / -(self.sigma**2))
            self._subtract(rows[some], columns, old, ages[some] - first)
            first, end = end, 2 * end
        self._sum(rows[(ages >= first) | (self.bounds[rows] < self.whole[rows] / DRIFT)])
        self.seen[rows] = len(self.history)

    def _sum(self, rows: Tensor) -> None:
        """Gains over all targets."""
        if 2 * len(rows) > len(self.points) and self.is_whole:
            self._sum_all()
            return
        for some in rows.split(self.tile):
            gains = self.bounds.new_zeros(len(some))
            left = self.points[some]
            for columns in self._tiles(self.targets, len(some)):
                kernel = self._kernel(left, self.target_points[columns])
                gains += self._raised(kernel, self.covered[columns]) @ self.weights32[columns]
            self.bounds[some] = self.whole[some] = gains

    def _subtract(self, rows: Tensor, columns: Tensor, old: Tensor, states: Tensor) -> None:
        """Lower gains by what targets (`columns`) were covered since; `old` of `states` before."""
        new, weights = self.covered[columns], self.weights32[columns]
        right = self.target_points[columns]
        for some, state in zip(rows.split(self.tile), states.split(self.tile), strict=True):
            left = self.points[some]
            for part in self._tiles(columns, len(some)):
                before = old[:, part] if len(old) == 1 else old[:, part].index_select(0, state)
                kernel = self._kernel(left, right[part])
                self.bounds[some] += self._raised(kernel, new[part]) @ weights[part]
                self.bounds[some] -= self._raised(kernel, before) @ weights[part]

    def _tiles(self, columns: Tensor, n_rows: int) -> list[slice]:
        """Slices of which the products with so many rows fill a buffer."""
        width = self.tile**2 // max(1, n_rows)
        return [slice(first, first + width) for first in range(0, len(columns), width)]

    def _kernel(self, left: Tensor, right: Tensor) -> Tensor:
        """Kernel values (n_left, n_right), until the next call; float64 if that is too coarse."""
        if self.sigma < NARROW:
            return squared_distances(left, right).div_(-(self.sigma**2)).exp_()
        out = self.buffers[0][: len(left) * len(right)].view(len(left), len(right))
        torch.mm(left, right.T, out=out)
        return out.sub_(1).mul_(2 / self.sigma**2).clamp_(max=0).exp_()

    def _raised(self, kernel: Tensor, covered: Tensor) -> Tensor:
        """What kernel values are above the coverage, float32, until the next call."""
        out = self.buffers[1][: kernel.numel()].view_as(kernel)
        return torch.sub(kernel, covered, out=out).relu_()

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
