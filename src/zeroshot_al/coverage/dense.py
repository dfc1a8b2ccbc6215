"""The first picks: kernel values by matrix products, and only those that may decide.

A gain never rises while points are added, so what it was some picks ago is an upper bound (lazy
evaluation, Minoux 1978), and only the points with the best bounds need theirs brought up to date:
over the targets that have got a nearer pick since. Where the kernel narrows from s to s', let
p = exp(-u / s^2) be a point's kernel value of a target, q < p what covers it, r = (s / s')^2. Then
p^r - q^r <= r p^(r - 1) (p - q), and by Jensen's inequality the sum of that over the targets is,
for r <= 2, at most r G^(2 - r) M^(r - 1), with the gain G = sum(p - q) and M = sum(p (p - q)).

Gains of float32 products only propose: points within `TOLERANCE` of the best one are compared by
exact distances, in whole numbers, as `sparse` does.
"""

import math

import torch
from torch import Tensor

from zeroshot_al.coverage.pairs import MARGIN, close_pairs, squared_distances_of_pairs
from zeroshot_al.coverage.sparse import Sparse, fixed_point
from zeroshot_al.kcenter.distances import squared_distances

TILE = {"cpu": 1024, "cuda": 4096}  # rows and columns of a product
CHUNK = {"cpu": 64, "cuda": 4096}  # points whose gains are brought up to date first
TOLERANCE = 1e-4  # of a gain: what float32 may be off
NOISE = 2.0**-20  # of the largest gain that there can be, likewise
NARROW = 0.15  # a kernel's width for which float32 distances are too coarse
MANY = 2048  # points tried until all are
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
        self.tile, self.chunk = TILE[device.type], CHUNK[device.type]
        # A fresh product costs up to a third more in page faults.
        self.buffers = points.new_empty((2, self.tile * self.tile))
        self.nearest = points.new_full((len(targets),), math.inf)
        self.covered = points.new_zeros(len(targets))
        self.sigma = 1.0
        # What gains, and sums of p (p - q), were after `seen` picks; or bounds of them (-1).
        self.sums = weights.sum().expand(2, len(points)).clone()  # no p - q is above 1
        self.bounds = self.sums[0]
        self.whole = self.bounds.clone()  # gains when they were last summed over all targets
        self.seen = torch.full_like(self.bounds, -1, dtype=torch.int64)
        self.selected = torch.zeros_like(self.bounds, dtype=torch.bool)
        # Of every pick: the targets that it is nearer to, and how far their nearest pick was.
        self.history: list[tuple[Tensor, Tensor]] = []

    def representative(self) -> int:
        """The unselected point that raises the coverage most, the first of equals."""
        n_tried = self.chunk
        while len(stale := self._stale()):
            if self.is_whole and 2 * len(stale) > len(self.points) and n_tried > MANY:
                self._sum_all()
                continue
            self._refresh(stale[self.bounds[stale].topk(min(len(stale), n_tried)).indices])
            n_tried *= 4  # the first ones tell, up to a few, which others may be better
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
        # Below the noise of float32 nothing is known that could be multiplied.
        gains, masses = self.sums + NOISE * self.weights.sum()
        masses = torch.minimum(masses, gains)
        growth = (masses / gains) ** min(ratio - 1, 1)
        self.bounds.copy_((ratio * growth * gains).masked_fill_(self.selected, -math.inf))
        self.sums[1] = ratio * masses
        self.sigma = sigma
        self.covered = torch.exp(self.nearest / -(sigma**2))
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
        pairs = close_pairs(self.points, self.target_points, self.nearest, self.tile)
        arrays = (self.nearest, self.targets, self.weights, self.selected)
        return Sparse(*pairs, *(array.cpu().numpy() for array in arrays), self.sigma)

    def _threshold(self) -> Tensor:
        """What a gain must reach to be, within the tolerance, the best of those up to date."""
        best = self.bounds.masked_fill(self.seen < len(self.history), -math.inf).max()
        return best - TOLERANCE * best.abs()

    def _stale(self) -> Tensor:
        """Points of which only a bound is known, and which may be the best."""
        stale = (self.seen < len(self.history)) & (self.bounds >= self._threshold())
        return (stale & ~self.selected).nonzero()[:, 0]

    def _refresh(self, rows: Tensor) -> None:
        """Bring gains up to date: by what changed since they were, or over all targets."""
        n_picks = len(self.history)
        ages = n_picks - self.seen[rows]
        was = self.nearest.clone()
        first, end = 1, 2  # ages of 1, of 2 and 3, of 4 to 7, ... have their targets in common
        while end <= n_picks and bool(((ages >= first) & (ages <= n_picks)).any()):
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
        rest = rows[(ages >= first) | (self.bounds[rows] < self.whole[rows] / DRIFT)]
        self._sum(rest)
        self.seen[rows] = n_picks

    def _sum_all(self) -> None:
        """Gains of all points where all are targets, by half the products."""
        sums = torch.zeros_like(self.sums)
        for start in range(0, len(self.points), self.tile):
            rows = slice(start, start + self.tile)
            for first in range(start, len(self.points), self.tile):
                columns = slice(first, first + self.tile)
                kernel = self._kernel(self.points[rows], self.points[columns])
                covered, weights = self.covered[columns], self.weights32[columns]
                sums[:, rows] += self._raised(kernel, covered, weights)
                if first > start:
                    covered, weights = self.covered[rows], self.weights32[rows]
                    sums[:, columns] += self._raised(kernel.T, covered, weights)
        sums[0].masked_fill_(self.selected, -math.inf)
        self.sums.copy_(sums)
        self.whole.copy_(self.bounds)
        self.seen.fill_(len(self.history))

    def _sum(self, rows: Tensor) -> None:
        """Gains over all targets."""
        for some in rows.split(self.tile):
            sums = self.sums.new_zeros((2, len(some)))
            left = self.points[some]
            for columns in self._tiles(self.targets, len(some)):
                kernel = self._kernel(left, self.target_points[columns])
                sums += self._raised(kernel, self.covered[columns], self.weights32[columns])
            self.sums[:, some] = sums
            self.whole[some] = sums[0]

    def _subtract(self, rows: Tensor, columns: Tensor, old: Tensor, states: Tensor) -> None:
        """Lower gains by what targets (`columns`) were covered since; `old` of `states` before."""
        new, weights = self.covered[columns], self.weights32[columns]
        right = self.target_points[columns]
        for some, state in zip(rows.split(self.tile), states.split(self.tile), strict=True):
            left = self.points[some]
            for part in self._tiles(columns, len(some)):
                before = old[0, part] if len(old) == 1 else old[:, part].index_select(0, state)
                kernel = self._kernel(left, right[part])
                self.sums[:, some] += self._raised(kernel, new[part], weights[part])
                self.sums[:, some] -= self._raised(kernel, before, weights[part])

    def _tiles(self, columns: Tensor, n_rows: int) -> list[slice]:
        """Slices of which the products with so many rows fill a buffer."""
        width = self.tile**2 // max(1, n_rows)
        return [slice(first, first + width) for first in range(0, len(columns), width)]

    def _raised(self, kernel: Tensor, covered: Tensor, weights: Tensor) -> Tensor:
        """Sums over the columns of p - q and of p (p - q), float32 (2, n_rows)."""
        flat = self.buffers[1][: kernel.numel()]
        # In the kernel's own layout, which may be transposed.
        raised = flat.view_as(kernel) if kernel.is_contiguous() else flat.view_as(kernel.T).T
        torch.sub(kernel, covered, out=raised).relu_()
        gains = raised @ weights
        return torch.stack([gains, raised.mul_(kernel) @ weights])

    def _kernel(self, left: Tensor, right: Tensor) -> Tensor:
        """Kernel values (n_left, n_right), until the next call; float64 if that is too coarse."""
        if self.sigma < NARROW:
            return squared_distances(left, right).div_(-(self.sigma**2)).exp_()
        out = self.buffers[0][: len(left) * len(right)].view(len(left), len(right))
        torch.mm(left, right.T, out=out)
        return out.sub_(1).mul_(2 / self.sigma**2).clamp_(max=0).exp_()

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
