"""The search of greedy k-center: bounds, blocks and nested pools, as `kcenter` describes them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zeroshot_al._kcenter_distances import Distances
from zeroshot_al.errors import InputError

if TYPE_CHECKING:
    from zeroshot_al.kcenter import KCenterOrder

BLOCK = 512  # points whose mutual distances are all computed
FAN_OUT = 4  # how many times larger a pool is than the pool inside it

# How good a point is as the next pick: its squared distance, then the smaller index.
Rank = tuple[float, int]
NOBODY: Rank = (-1.0, 1)  # beaten by every point but the selected ones


class Search:
    """The state of one search: the centres in order, and each point's bound.

    Pools and blocks are ascending index tensors of unselected points, all of which have been
    compared with all centres when a method is entered and when it returns.
    """

    def __init__(self, distances: Distances, n_select: int, bar: tqdm):
        self.distances = distances
        self.bounds = torch.full_like(distances.squared_norms, math.inf)
        self.n_compared = torch.zeros_like(self.bounds, dtype=torch.int64)
        self.centres: list[int] = []  # initial ones, then the order
        self.radius: list[float] = []  # of the order alone
        self.n_select = n_select
        self.bar = bar

    def run(self) -> None:
        """Pick from the whole pool until the order is full."""
        pool = (self.bounds >= 0).nonzero()[:, 0]
        self.refresh(pool)
        self.exhaust(pool, NOBODY)

    def exhaust(self, pool: Tensor, bar: Rank) -> None:
        """Pick from the pool for as long as its best point beats `bar`, the best one outside."""
        if len(pool) <= BLOCK:
            self.pick_in_block(pool, bar)
            return
        while self.n_missing and self.best(pool) > bar:
            inner, rest = self.split(pool, max(BLOCK, len(pool) // FAN_OUT))
            self.exhaust(inner, max(bar, self.best(rest)))
            if self.n_missing:
                self.refresh(rest)
            pool = pool[self.bounds[pool] >= 0]

    def pick_in_block(self, block: Tensor, bar: Rank) -> None:
        """Plain greedy k-center inside a block, for as long as its best point beats `bar`."""
        distances = self.distances.exact(block, block).cpu().numpy()
        bounds = self.bounds[block].cpu().numpy()
        indices = block.tolist()
        picks, radius = [], []
        for _ in range(self.n_missing):
            best = int(bounds.argmax())  # the first of equals, which has the smallest index
            if (bounds[best], -indices[best]) <= bar:
                break
            picks.append(indices[best])
            radius.append(math.sqrt(bounds[best]))
            np.minimum(bounds, distances[best], out=bounds)
            bounds[best] = -1
        self.bounds[block] = torch.from_numpy(bounds).to(self.bounds.device)
        self.add_picks(picks, radius)
        self.n_compared[block] = len(self.centres)

    def refresh(self, rows: Tensor) -> None:
        """Compare points with the centres that they have not been compared with yet."""
        seen = self.n_compared[rows]
        counts = seen.bincount(minlength=len(self.centres))[: len(self.centres)]
        for n_seen in counts.nonzero()[:, 0].tolist():
            behind = rows[seen == n_seen]
            self.distances.refresh(self.bounds, behind, self.indices(self.centres[n_seen:]))
            self.n_compared[behind] = len(self.centres)

    def best(self, rows: Tensor) -> Rank:
        """The point with the largest bound, the smallest index among equals."""
        if not len(rows):
            return NOBODY
        values = self.bounds[rows]
        first = values.argmax()
        return values[first].item(), -rows[first].item()

    def split(self, pool: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The `size` best points of a pool (ties at the cut by index), and the rest of it."""
        if size >= len(pool):
            return pool, pool[:0]
        values = self.bounds[pool]
        cut = values.kthvalue(len(pool) - size + 1).values
        inside = values > cut
        tied = (values == cut).nonzero()[:, 0]
        inside[tied[: size - int(inside.sum())]] = True
        return pool[inside], pool[~inside]

    def indices(self, values: Sequence[int] | np.ndarray) -> Tensor:
        """Indices as a tensor on the device."""
        return torch.as_tensor(values, dtype=torch.int64, device=self.bounds.device)

    @property
    def n_missing(self) -> int:
        """How many picks the order still lacks."""
        return self.n_select - len(self.radius)

    def add_centres(self, indices: Sequence[int]) -> None:
        """Append centres; they leave the pool."""
        self.centres.extend(indices)
        self.bounds[self.indices(indices)] = -1

    def add_picks(self, indices: Sequence[int], radius: Sequence[float]) -> None:
        """Append centres that are part of the order."""
        self.add_centres(indices)
        self.radius.extend(radius)
        self.bar.update(len(indices))

    def add_starts(self, starts: np.ndarray) -> None:
        """Append the random start points, each with its distance to the nearest earlier one."""
        everyone = self.indices(starts)
        nearest = torch.full_like(everyone, math.inf, dtype=torch.float64)
        for first in range(0, len(starts), BLOCK):
            rows = slice(first, first + BLOCK)
            for columns in everyone[: first + BLOCK].split(BLOCK):
                block = self.distances.exact(everyone[rows], columns)
                if columns[0] == everyone[first]:
                    block.masked_fill_(torch.ones_like(block, dtype=torch.bool).triu(), math.inf)
                nearest[rows] = torch.minimum(nearest[rows], block.amin(1))
        # NumPy's square root is correctly rounded on every machine; torch's is not.
        self.add_picks(starts.tolist(), np.sqrt(nearest.cpu().numpy()).tolist())

    def restore(self, prefix: "KCenterOrder") -> None:
        """Append the picks of a prefix, and take over its bounds if it has them."""
        picks = [int(index) for index in prefix.order]
        last, earlier = self.indices(picks[-1:]), self.indices(self.centres + picks[:-1])
        nearest = math.inf
        for part in earlier.split(BLOCK) if len(earlier) else ():
            nearest = min(nearest, self.distances.exact(last, part).min().item())
        if not math.isclose(math.sqrt(nearest), prefix.radius[-1], rel_tol=1e-6, abs_tol=1e-6):
            raise InputError(
                f"the last pick of resume has the radius {prefix.radius[-1]:.6g}, which is "
                f"{math.sqrt(nearest):.6g} here; resume with the same embeddings and initial points"
            )
        if prefix.bounds is not None and prefix.n_compared is not None:
            self.bounds = torch.tensor(prefix.bounds, device=self.bounds.device)
            self.n_compared = torch.tensor(prefix.n_compared, device=self.bounds.device)
        self.add_picks(picks, prefix.radius.tolist())
