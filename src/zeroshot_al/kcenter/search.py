"""The search of greedy k-center: bounds, blocks and nested pools, as `kcenter` describes them.

Every rank runs the same search on its own points: sample ``rank + n_ranks * row`` is its row `row`.
Ranks exchange two things: how good their best points are (`survey`), by which all decide the same,
and the points of a block (`exchange`), from which all make the same picks. A centre of another rank
lies in a row behind the own ones. A survey is 48 bytes a rank; a block is at most `BLOCK` points of
``4 n_dims + 16`` bytes in all, and gives a few hundred picks.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zeroshot_al.base.ranks import Ranks
from zeroshot_al.kcenter.distances import Distances, squared_distances

BLOCK = 512  # points whose mutual distances are all computed
FAN_OUT = 4  # how many times larger a pool is than the pool inside it

# How good a point is as the next pick: its squared distance, then the smaller sample.
Merit = tuple[float, float]
NO_POINT: Merit = (-1.0, 1.0)  # beaten by every point but the selected ones


class Search:
    """The state of one search: the centres in order, and the bound of each of this rank's points.

    Pools and blocks are ascending row tensors of unselected points, this rank's part of what all
    ranks treat as one. All of them have been compared with all centres when a method is entered and
    when it returns. Whatever decides what happens next is equal on all ranks; sizes and speed of
    the parts need not be.

    Parameters
    ----------
    distances : Distances
        This rank's points, with room for the centres among the others'.
    n_select : int
        How many points to order.
    bar : tqdm
        Told of every pick.
    ranks : Ranks
        Who else searches.
    """

    def __init__(self, distances: Distances, n_select: int, bar: tqdm, ranks: Ranks):
        self.distances = distances
        self.ranks = ranks
        self.share = max(1, BLOCK // ranks.n_ranks)  # of a block
        rows = torch.arange(distances.n_held, device=distances.points.device)
        self.samples = ranks.rank + ranks.n_ranks * rows
        self.bounds = torch.full_like(self.samples, math.inf, dtype=torch.float64)
        self.n_compared = torch.zeros_like(self.samples)
        self.centres: list[int] = []  # rows: initial ones, then the order
        self.order: list[int] = []  # samples
        self.radius: list[float] = []
        self.n_select = n_select
        self.bar = bar

    def run(self) -> None:
        """Pick from all points until the order is full."""
        pool = (self.bounds >= 0).nonzero()[:, 0]
        self.refresh(pool)
        self.exhaust(pool, NO_POINT)

    def exhaust(self, pool: Tensor, bar: Merit) -> None:
        """Pick from the pool for as long as its best point beats `bar`, the best one outside."""
        while self.n_missing:
            inner, rest = self.split(pool, max(self.share, len(pool) // FAN_OUT))
            inside, outside, n_inside = self.survey(inner, rest)
            if inside <= bar:
                return
            if n_inside <= self.share * self.ranks.n_ranks:
                self.pick_in_block(inner, max(bar, outside))
            else:
                self.exhaust(inner, max(bar, outside))
            if self.n_missing:
                self.refresh(rest)
            pool = pool[self.bounds[pool] >= 0]

    def pick_in_block(self, block: Tensor, bar: Merit) -> None:
        """Plain greedy k-center inside a block, for as long as its best point beats `bar`."""
        samples, found, vectors = self.exchange(block)
        distances = squared_distances(vectors, vectors).cpu().numpy()
        bounds, indices = found.cpu().numpy(), samples.tolist()
        picks, radius = [], []
        for _ in range(self.n_missing):
            best = int(bounds.argmax())  # the first of equals, which is the smallest sample
            if (bounds[best], -indices[best]) <= bar:
                break
            picks.append(best)
            radius.append(math.sqrt(bounds[best]))
            np.minimum(bounds, distances[best], out=bounds)
            bounds[best] = -1
        own = samples % self.ranks.n_ranks == self.ranks.rank
        self.bounds[block] = torch.from_numpy(bounds).to(found.device)[own]
        picked = self.tensor(picks)
        self.add_centres(samples[picked], vectors[picked])
        self.add_picks([indices[pick] for pick in picks], radius)
        self.n_compared[block] = len(self.centres)

    def refresh(self, rows: Tensor) -> None:
        """Compare points with the centres that they have not been compared with yet."""
        seen = self.n_compared[rows]
        counts = seen.bincount(minlength=len(self.centres))[: len(self.centres)]
        for n_seen in counts.nonzero()[:, 0].tolist():
            behind = rows[seen == n_seen]
            self.distances.refresh(self.bounds, behind, self.tensor(self.centres[n_seen:]))
            self.n_compared[behind] = len(self.centres)

    def split(self, pool: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """The `size` best points of this part of a pool (ties at the cut by row), and the rest."""
        if size >= len(pool):
            return pool, pool[:0]
        values = self.bounds[pool]
        cut = values.kthvalue(len(pool) - size + 1).values
        inside = values > cut
        tied = (values == cut).nonzero()[:, 0]
        inside[tied[: size - int(inside.sum())]] = True
        return pool[inside], pool[~inside]

    def survey(self, inner: Tensor, rest: Tensor) -> tuple[Merit, Merit, int]:
        """The best point of each pool over all ranks, and how many there are in the first."""
        answer = self.bounds.new_tensor([*NO_POINT, len(inner), *NO_POINT, len(rest)]).view(2, 3)
        for pool, best in zip((inner, rest), answer, strict=True):
            if len(pool):
                values = self.bounds[pool]
                first = values.argmax()  # the first of equals
                best[0], best[1] = values[first], -self.samples[pool[first]]
        answers = torch.stack(self.ranks.gather(answer)).tolist()
        inside, outside = (
            max((value, sample) for value, sample, _ in of_ranks)
            for of_ranks in zip(*answers, strict=True)
        )
        return inside, outside, sum(int(length) for (_, _, length), _ in answers)

    def exchange(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Samples, ascending, bounds and vectors of all ranks' rows."""
        parts = (self.samples[rows, None], self.bounds[rows, None], self.distances.points[rows])
        packed = torch.cat([part.view(torch.uint8) for part in parts], dim=1)
        everyone = torch.cat(self.ranks.gather_rows(packed))
        samples, bounds, vectors = (
            columns.clone(memory_format=torch.contiguous_format).view(part.dtype)
            for columns, part in zip(
                everyone.split([part.shape[1] * part.element_size() for part in parts], dim=1),
                parts,
                strict=True,
            )
        )
        ascending = samples[:, 0].argsort()
        return samples[ascending, 0], bounds[ascending, 0], vectors[ascending]

    def tensor(self, values: Sequence[int] | np.ndarray) -> Tensor:
        """Indices as a tensor on the device."""
        return torch.as_tensor(values, dtype=torch.int64, device=self.distances.points.device)

    @property
    def n_missing(self) -> int:
        """How many picks the order still lacks."""
        return self.n_select - len(self.order)

    def add_centres(self, samples: Tensor, vectors: Tensor) -> None:
        """Append centres with the vectors of all; this rank's leave the pool."""
        own = samples % self.ranks.n_ranks == self.ranks.rank
        rows = torch.empty_like(samples)
        rows[own] = samples[own] // self.ranks.n_ranks
        rows[~own] = self.distances.append(vectors[~own])
        self.bounds[rows[own]] = -1
        self.centres.extend(rows.tolist())

    def add_given(self, samples: Sequence[int] | np.ndarray) -> None:
        """Append centres that are not the search's own picks."""
        for part in self.tensor(samples).split(BLOCK):
            own = part[part % self.ranks.n_ranks == self.ranks.rank] // self.ranks.n_ranks
            found, _, vectors = self.exchange(own)
            self.add_centres(part, vectors[torch.searchsorted(found, part)])

    def add_picks(self, samples: Sequence[int], radius: Sequence[float]) -> None:
        """Append centres to the order."""
        self.order.extend(samples)
        self.radius.extend(radius)
        self.bar.update(len(samples))

    def add_starts(self, starts: np.ndarray) -> None:
        """Append the random start points, each with its distance to the nearest earlier one."""
        self.add_given(starts)
        everyone = self.tensor(self.centres)
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
