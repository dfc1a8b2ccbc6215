"""Exact distances to the nearest centre at the speed of a low-precision matrix product.

The distance of a point to a new centre matters only if it is below the point's bound, and of
several new centres only the nearest matters. A filter (`filter.py`) decides both for nearly
all pairs; the few that it cannot rule out are evaluated in float64, which is exact on canonical
rows (`input.py`). The filter's precision thus changes the time and never the result.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

from zeroshot_al.kcenter.filter import TILE, BFloat16Filter, Filter, chunks, float32_filter

DENSE = 128  # from 1 candidate in 128 on, a finer product beats evaluating single pairs
BFLOAT16_GAIN = 1.3  # the smallest speed-up of the product that pays for more candidates


class Distances:
    """The points of one process, and the exact squared distances between them.

    Parameters
    ----------
    points : Tensor of shape (n_own + n_free, n_dims), float32
        Canonical rows, on the device that computes; then room for `append`.
    n_own : int
        How many rows are points already.
    bfloat16 : bool
        Whether to filter in bfloat16 first; the float32 filter then takes what passes too much.
    """

    def __init__(self, points: Tensor, n_own: int, bfloat16: bool):
        self.points = points
        self.n_held = 0
        self.squared_norms = points.new_empty(len(points), dtype=torch.float64)
        self.filters: list[Filter] = [float32_filter(points)]
        self.bfloat16: BFloat16Filter | None = None
        if bfloat16:
            self.bfloat16 = BFloat16Filter(points, points[:n_own].mean(0).double())
            self.filters.insert(0, self.bfloat16)
        self._hold(n_own)

    def append(self, vectors: Tensor) -> Tensor:
        """Hold more points, float32 (n_new, n_dims), and return the index of each."""
        first = self.n_held
        self.points[first : first + len(vectors)] = vectors
        self._hold(len(vectors))
        return torch.arange(first, self.n_held, device=vectors.device)

    def _hold(self, n_new: int) -> None:
        """Take over the next rows of `points`."""
        if not n_new:
            return
        rows = slice(self.n_held, self.n_held + n_new)
        for chunk, out in zip(
            chunks(self.points[rows]), chunks(self.squared_norms[rows], self.points), strict=True
        ):
            out.copy_(chunk.double().square_().sum(1))
        if self.bfloat16 is not None:
            self.bfloat16.hold(rows)
        self.n_held += n_new

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """All squared distances (n_rows, n_columns), float64."""
        return squared_distances(self.points[rows], self.points[columns])

    def exact_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Squared distances of `rows[k]` to `columns[k]` (n_pairs,), float64."""
        products = [
            torch.linalg.vecdot(self.points[r].double(), self.points[c].double())
            for r, c in zip(chunks(rows, self.points), chunks(columns, self.points), strict=True)
        ]
        return self.squared_norms[rows] + self.squared_norms[columns] - 2 * torch.cat(products)

    def refresh(self, bounds: Tensor, rows: Tensor, centres: Tensor) -> None:
        """Lower `bounds[rows]` to the exact squared distance to the nearest of `centres`.

        Parameters
        ----------
        bounds : Tensor of shape (n_samples,), float64
            Squared distances so far; overwritten. Rows with a bound of 0 or less are left alone:
            duplicates of a centre, whose bound cannot fall, and selected points.
        rows, centres : Tensor of shape (n_rows,) and (n_centres,), int64
            Indices into the points.
        """
        for columns in centres.split(TILE):
            for tile in rows.split(TILE):
                self._refresh_tile(bounds, tile[bounds[tile] > 0], columns, self.filters)

    def _refresh_tile(
        self, bounds: Tensor, rows: Tensor, columns: Tensor, filters: list[Filter]
    ) -> None:
        """Refresh a tile with the first filter, and with the next one where too much passes."""
        if not filters:
            nearest = self.exact(rows, columns).amin(1)
            bounds[rows] = torch.minimum(bounds[rows], nearest)
            return
        now = filters[0]
        products = now.products(rows, columns)
        largest = products.amax(1)
        reach = now.moved[rows] + now.moved[columns].max()
        distance = bounds[rows].sqrt()
        hit = (largest >= now.floor(distance, reach)).nonzero()[:, 0]
        if not len(hit):
            return
        rows, reach, distance = rows[hit], reach[hit], distance[hit]
        # Only the nearest centre counts: a bound that the largest product proves is as good.
        distance = torch.minimum(distance, now.farthest(largest[hit], reach))
        candidates = products[hit] >= now.floor(distance, reach)[:, None]
        if DENSE * candidates.sum() > candidates.numel():
            self._refresh_tile(bounds, rows, columns, filters[1:])
            return
        row, column = candidates.nonzero().unbind(1)
        row = rows[row]
        bounds.scatter_reduce_(0, row, self.exact_pairs(row, columns[column]), "amin")


def squared_distances(left: Tensor, right: Tensor) -> Tensor:
    """All squared distances (n_left, n_right), float64, of canonical rows: |x|^2 + |y|^2 - 2 xy."""
    left, right = left.double(), right.double()
    norms = left.square().sum(1)[:, None] + right.square().sum(1)[None, :]
    return norms.sub_(left @ right.T, alpha=2)


@cache
def bfloat16_pays(device: torch.device) -> bool:
    """Whether a bfloat16 product is faster here: AMX, AVX512-BF16 and GPUs differ too much to list.

    A wrong answer under load costs time only; the order is the same.
    """
    seconds = {}
    with reference_arithmetic(device):
        for dtype in (torch.float32, torch.bfloat16):
            left = torch.ones(512, 512, dtype=dtype, device=device)
            times = []
            for _ in range(4):  # the first one pays for the set-up
                start = time.perf_counter()
                torch.mm(left, left.T)[0, 0].item()  # item() waits for the device
                times.append(time.perf_counter() - start)
            seconds[dtype] = min(times)
    return seconds[torch.float32] > BFLOAT16_GAIN * seconds[torch.bfloat16]


@contextmanager
def reference_arithmetic(device: torch.device) -> Iterator[None]:
    """Switch off, for a while, the caller's settings under which the error bounds do not hold.

    TF32 and bfloat16 emulation of float32 products, bfloat16 accumulation, and autocast.
    """
    precision = torch.get_float32_matmul_precision()
    reduction = torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with torch.inference_mode(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = reduction
