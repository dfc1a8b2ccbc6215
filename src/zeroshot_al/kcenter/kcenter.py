"""Greedy k-center, exact and at the speed of a matrix product.

Greedy k-center (Gonzalez 1985; "farthest-first traversal", "k-Center-Greedy" in Sener & Savarese
2018, Algorithm 1) picks, again and again, the point farthest from all centres picked so far. Done
literally, each pick reads the whole data once: a matrix-vector product, bound by memory. This
module makes the same picks with matrix-matrix products:

1. **Canonical data.** Rows are normalised and rounded to a grid on which float64 distances are
   exact (`input.py`). "Farthest" then has one answer everywhere; true ties go to the smallest
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
   cannot rule out are evaluated in float64 (`distances.py`, `filter.py`).

Steps 2 to 4 are `search.py`.

Several ranks share one search, each with its part of the points. They exchange the points of a
block, once in a few hundred picks, and never the picks one by one: see `search.py` and, for
bytes and messages, docs/benchmarks/ranks.md.

References
----------
T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer
Science 38 (1985). O. Sener and S. Savarese, "Active Learning for Convolutional Neural Networks: A
Core-Set Approach", ICLR 2018.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.kcenter.distances import Distances, bfloat16_pays, reference_arithmetic
from zeroshot_al.kcenter.input import (
    canonical_rows,
    check_counts,
    check_device,
    check_embeddings,
    check_fits,
    check_indices,
)
from zeroshot_al.kcenter.search import Search

PRECISIONS = ("auto", "float32", "bf16")
BFLOAT16_DIMS = 256  # below, the product is too small a part of the time to pay for the copy


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
    """

    order: np.ndarray
    radius: np.ndarray


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
    ranks: Ranks = ALONE,
) -> KCenterOrder:
    """Order points so that each is the farthest from all before it.

    The result is exact: the sequence of greedy k-center in float64 on the canonical rows, ties to
    the smallest index. `precision`, `device`, threads, ranks and block sizes change the time only.

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
    ranks : Ranks
        The processes that share the work. Each calls with the same arguments, `device` apart, of
        which it reads its own part of the embeddings.

    Returns
    -------
    KCenterOrder
        `order` and `radius` of length `n_select`, on every rank the same.

    Raises
    ------
    InputError
        For embeddings that are not a finite, floating matrix without zero rows; for a count,
        index, seed, precision or device out of range; if there is too little memory. All ranks
        raise the same, except for memory.

    Notes
    -----
    Time is that of a product of (at most) all points with all centres, 2 n_samples n_select n_dims
    operations. Memory beside the embeddings is one float32 copy of them (and a bfloat16 one if
    that filter is used) and a few MB. A rank has its part of the points, and the others' centres.

    References
    ----------
    Gonzalez (1985); Sener and Savarese (2018), Algorithm 1.

    Examples
    --------
    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    >>> kcenter_order(points, 3, initial_indices=[0]).order
    array([3, 2, 1])
    """
    check_embeddings(embeddings)
    n_samples, n_dims = embeddings.shape
    where = check_device(device)
    initial = check_indices("initial_indices", initial_indices, n_samples)
    check_counts(n_select, n_samples - len(initial), 1 if len(initial) else n_initial, seed)
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown; use one of {', '.join(PRECISIONS)}")
    bfloat16 = precision == "bf16" or (
        precision == "auto" and n_dims >= BFLOAT16_DIMS and bfloat16_pays(where)
    )
    n_own = len(range(ranks.rank, n_samples, ranks.n_ranks))
    n_foreign = min(n_samples - n_own, len(initial) + n_select)  # centres, at most
    check_fits(n_own + n_foreign, n_dims, where, ranks.n_local)
    points = torch.from_numpy(canonical_rows(embeddings, ranks, n_foreign)).to(where)
    quiet = None if progress and ranks.is_first else True  # None: silent off a terminal
    bar = tqdm(total=n_select, desc="k-center", unit="pick", disable=quiet)
    with reference_arithmetic(where), bar:
        search = Search(Distances(points, n_own, bfloat16), n_select, bar, ranks)
        search.add_given(initial)
        if not len(initial):
            rng = np.random.default_rng(seed)
            search.add_starts(rng.choice(n_samples, size=n_initial, replace=False))
        search.run()
        return KCenterOrder(
            order=np.array(search.order, dtype=np.int64),
            radius=np.array(search.radius, dtype=np.float64),
        )
