"""Greedy k-center, exact and at the speed of a matrix product.

Greedy k-center (Gonzalez 1985; "farthest-first traversal", "k-Center-Greedy" in Sener & Savarese
2018, Algorithm 1) picks, again and again, the point farthest from all centres picked so far. Done
literally, each pick reads the whole data once: a matrix-vector product, bound by memory. This
module makes the same picks with matrix-matrix products:

1. **Canonical data.** Rows are normalised and rounded to a grid on which float64 distances are
   exact (`_kcenter_input`). "Farthest" then has one answer everywhere; true ties go to the smallest
   index.
2. **Bounds.** ``bounds[i]`` is the exact squared distance of point i to the nearest centre *that it
   has been compared with*: an upper bound of its true one, since more centres only lower it. A
   selected point has -1.
3. **Blocks.** The points with the largest bounds form a block whose bounds are up to date. As long
   as the best point of the block beats the largest bound outside it is the farthest of all, and
   only the block has to learn of it: a few hundred distances. When it no longer does, the rest is
   compared with all the new centres at once.
4. **Nesting.** The rest is far larger than the block, so the same idea is applied to it again: a
   pool holds a smaller pool of its largest bounds, down to the block. Small pools are refreshed
   often, large ones rarely and with many centres, and no pair is ever compared twice. Points whose
   bounds stay below every pick are never refreshed at all.
5. **Filter.** A refresh is a float32 or bfloat16 product with a proven error; the pairs that it
   cannot rule out are evaluated in float64 (`_kcenter_filter`).

References
----------
T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer
Science 38 (1985). O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zeroshot_al._kcenter_filter import Distances, bfloat16_pays, reference_arithmetic
from zeroshot_al._kcenter_input import (
    canonical_rows,
    check_counts,
    check_device,
    check_indices,
    check_precision,
    check_prefix,
)
from zeroshot_al.errors import InputError

BLOCK = 512  # points whose mutual distances are all computed
FAN_OUT = 4  # how many times larger a pool is than the pool inside it
BFLOAT16_DIMS = 256  # below, the product is too small a part of the time to pay for the copy

# How good a point is as the next pick: its squared distance, then the smaller index.
Rank = tuple[float, int]
NOBODY: Rank = (-1.0, 1)  # beaten by every point but the selected ones


@dataclass(frozen=True, eq=False)
class KCenterOrder:
    """The picks in order, and how far each was from everything before it.

    Attributes
    ----------
    order : ndarray of shape (n_select,), int64
        Indices into the pool; the first k are the selection for a budget of k.
    radius : ndarray of shape (n_select,), float64
        L2 distance of each pick to its nearest earlier centre, in [0, 2]; infinite for the very
        first centre. From the first pick that was not a start point on it never increases, and it
        is then the covering radius of all the centres before the pick.
    bounds : ndarray of shape (n_samples,), float64, or None
        State to resume from: squared distance of each point to the nearest of the first
        `n_compared` centres, -1 for the centres themselves.
    n_compared : ndarray of shape (n_samples,), int64, or None
        How many centres each point has been compared with, initial ones included.
    """

    order: np.ndarray
    radius: np.ndarray
    bounds: np.ndarray | None = field(default=None, repr=False)
    n_compared: np.ndarray | None = field(default=None, repr=False)


def kcenter_order(
    embeddings: np.ndarray,
    n_select: int,
    *,
    initial_indices: Sequence[int] | np.ndarray | None = None,
    n_initial: int = 1,
    seed: int = 0,
    precision: str = "auto",
    device: str | torch.device = "auto",
    progress: bool = False,
    resume: KCenterOrder | None = None,
) -> KCenterOrder:
    """Order points so that each is the farthest from all before it.

    The result is exact: the sequence of greedy k-center in float64 on the canonical rows, ties to
    the smallest index. `precision`, `device`, threads and block sizes change the time only.

    Parameters
    ----------
    embeddings : ndarray or memmap of shape (n_samples, n_dims), floating
        Features; rows are L2-normalised, so only their directions count. Not modified.
    n_select : int
        Number of points to order, start points included.
    initial_indices : array-like of shape (n_centres,), int, optional
        Points that are centres already (labelled ones). They are not in the order. Empty is the
        same as absent: there is nothing to be far from, so the start is random.
    n_initial : int
        Number of random start points without `initial_indices`. They come first in the order.
    seed : int
        Seed of the NumPy generator that draws the start points.
    precision : {"auto", "float32", "bf16"}
        Precision of the filter. "auto" takes float32 for short rows and else times a product of
        each and takes the faster one.
    device : str or torch.device
        "cpu", "cuda" or "cuda:k"; "auto" is a GPU where there is one.
    progress : bool
        Show a progress bar on stderr, if that is a terminal.
    resume : KCenterOrder, optional
        A prefix to continue, made from the same embeddings and initial points; `seed` is then not
        used. Without its `bounds` and `n_compared` these are computed again.

    Returns
    -------
    KCenterOrder
        `order` and `radius` of length `n_select`, and the state to resume from.

    Raises
    ------
    InputError
        For embeddings that are not a finite, floating matrix without zero rows; for a count,
        index, seed, precision or device out of range; for a prefix of other embeddings.

    Notes
    -----
    Time is that of a product of (at most) all points with all centres, 2 n_samples n_select n_dims
    operations. Memory beside the embeddings is one float32 copy of them (and a bfloat16 one if
    that filter is used) and a few MB.

    References
    ----------
    Gonzalez (1985); Sener and Savarese (2018), Algorithm 1.

    Examples
    --------
    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    >>> kcenter_order(points, 3, initial_indices=[0]).order
    array([3, 2, 1])
    """
    points = canonical_rows(embeddings)
    n_samples = len(points)
    initial = check_indices("initial_indices", initial_indices, n_samples)
    check_counts(n_select, n_samples - len(initial), 1 if len(initial) else n_initial, seed)
    if resume is not None:
        check_prefix(resume, n_samples, n_select, initial, n_initial)
    where = check_device(device)
    check_precision(precision)
    bfloat16 = precision == "bf16" or (
        precision == "auto" and points.shape[1] >= BFLOAT16_DIMS and bfloat16_pays(where)
    )
    quiet = None if progress else True  # None: silent off a terminal
    bar = tqdm(total=n_select, desc="k-center", unit="pick", disable=quiet)
    with reference_arithmetic(where), bar:
        search = _Search(Distances(torch.from_numpy(points).to(where), bfloat16), n_select, bar)
        search.add_centres(initial)
        if resume is not None:
            search.restore(resume)
        elif not len(initial):
            rng = np.random.default_rng(seed)
            search.add_starts(rng.choice(n_samples, size=n_initial, replace=False))
        search.run()
        return search.result()


class _Search:
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

    def restore(self, prefix: KCenterOrder) -> None:
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

    def result(self) -> KCenterOrder:
        """The order, its radii and the state to resume from."""
        return KCenterOrder(
            order=np.array(self.centres[-self.n_select :], dtype=np.int64),
            radius=np.array(self.radius, dtype=np.float64),
            bounds=self.bounds.cpu().numpy(),
            n_compared=self.n_compared.cpu().numpy(),
        )
