"""Exact distances to the nearest centre at the speed of a low-precision matrix product.

The distance of a point to a new centre matters only if it is below the point's bound, and of
several new centres only the nearest matters. A cheap product with a *proven* error decides both for
nearly all pairs; the few that it cannot rule out are evaluated in float64, which is exact on
canonical rows (see `_kcenter_input`). The filter's precision thus changes the time and never the
result.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

TILE = 1024  # rows and columns of a product: 4 MiB, which stays in the cache
DENSE = 128  # from 1 candidate in 128 on, a finer product beats evaluating single pairs
BFLOAT16_GAIN = 1.3  # the smallest speed-up of the product that pays for more candidates
MARGIN = 1 + 1e-5  # for the float64 roundings in the bounds themselves


@dataclass(eq=False)
class Filter:
    """Vectors whose dot products tell squared distances, and how far those can be off.

    The filter moves each point a little, point i by at most ``moved[i]``. The product of row i with
    column j is ``offset - D^2 / 2`` for the distance D of the two moved points, up to `error`, and
    is then rounded to the type of the output. By the triangle inequality D differs from the true
    distance by at most ``moved[i] + moved[j]``. That is why the norms belong into the product: an
    error of the dot product alone would not shrink with the distance.

    Attributes
    ----------
    vectors : Tensor of shape (n_samples, n_dims + n_extra), float32 or bfloat16
        A column takes its extra coordinates in the order (c, d, a, b) where a row has (a, b, c, d).
    n_dims : int
        Number of coordinates that are not extra ones.
    moved : Tensor of shape (n_samples,), float64
        How far the filter moved each point.
    offset, error : float
        As above, in squared distances of unit rows.
    """

    vectors: Tensor
    n_dims: int
    moved: Tensor
    offset: float
    error: float

    def __post_init__(self):
        # A fresh output costs up to a third of the product in page faults, so buffers are kept.
        width = self.vectors.shape[1]
        self._rows, self._columns, self._products = (
            self.vectors.new_empty(size) for size in (TILE * width, TILE * width, TILE * TILE)
        )

    def products(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Products (n_rows, n_columns) of at most TILE x TILE points; valid until the next call."""
        width = self.vectors.shape[1]
        left = self._rows[: len(rows) * width].view(len(rows), width)
        right = self._columns[: len(columns) * width].view(len(columns), width)
        torch.index_select(self.vectors, 0, rows, out=left)
        torch.index_select(self.vectors, 0, columns, out=right)
        right[:, self.n_dims :] = right[:, self.n_dims :].roll(2, 1)
        out = self._products[: len(rows) * len(columns)].view(len(rows), len(columns))
        return torch.mm(left, right.T, out=out)

    def floor(self, distance: Tensor, reach: Tensor) -> Tensor:
        """Products below this prove that a point is farther than `distance` from the column.

        A true distance of at most u means D <= u + reach, hence an exact product of at least
        ``offset - (u + reach)^2 / 2`` and a computed one of at least `error` less. Rounding is
        monotonic: what is not below the floor is not below the rounded floor once it is rounded.

        Parameters
        ----------
        distance, reach : Tensor of shape (n_rows,), float64
            Bound u of the true distance; how far the row and any column were moved together.
        """
        return (self.offset - (distance + reach).square() / 2 - self.error).to(self.vectors.dtype)

    def farthest(self, product: Tensor, reach: Tensor) -> Tensor:
        """Upper bound (n_rows,), float64, of the true distance of a pair with this product.

        The inverse of `floor`, after undoing the rounding of the output: a bfloat16 number is
        within 2^-8 of its size of what was rounded, a float32 product is not rounded again.
        """
        product = product.double()
        if self.vectors.dtype == torch.bfloat16:
            product -= 2.0**-8 * product.abs()
        return (2 * (self.offset - product + self.error)).clamp_(min=0).sqrt_() + reach


def float32_filter(points: Tensor, squared_norms: Tensor) -> Filter:
    """Filter with the canonical rows themselves, without a copy.

    ``xy = 1 - |x - y|^2 / 2 + (|x|^2 - 1) / 2 + (|y|^2 - 1) / 2``, so with the offset 1 the norms'
    largest deviation from 1 is an error. Float32 accumulation of d products, in any order, fused or
    not, adds at most ``gamma_d |x| |y|`` (see `_gamma`). No point is moved.
    """
    n_dims = points.shape[1]
    error = (squared_norms - 1).abs().max() + _gamma(n_dims, 2.0**-24) * squared_norms.max()
    return Filter(
        vectors=points,
        n_dims=n_dims,
        moved=squared_norms.new_zeros(1).expand(len(points)),
        offset=1.0,
        error=MARGIN * error.item(),
    )


def bfloat16_filter(points: Tensor) -> Filter:
    """Filter with the rows rounded to bfloat16, after the mean is subtracted.

    Distances do not change when all points are shifted alike, and the rounding is relative: rows
    that share a large mean, as pooled activations do, are moved less when it is gone.

    Let z be a rounded row and h = -|z|^2 / 2. The row (z, h, h', 1, 1), where h' is what the
    rounding of h to bfloat16 loses, times the column (z, 1, 1, h, h') is -|z_i - z_j|^2 / 2: the
    offset is 0, and `moved` is the length of the rounding residual, measured. Two errors remain:

    1. Accumulation of d + 4 products, which are exact in float32. Their sizes sum to at most
       ``|z_i| |z_j| + |h_i| + |h_j| <= 2 L^2`` with L the longest row, hence an error of at most
       ``gamma_{d+4} 2 L^2``, with the unit 2^-23 since tensor cores truncate (Fasi et al. 2021).
    2. What h + h' loses, measured, once for the row and once for the column.
    """
    n_samples, n_dims = points.shape
    mean = points.mean(0).double()
    vectors = points.new_ones((n_samples, n_dims + 4), dtype=torch.bfloat16)
    moved = points.new_empty(n_samples, dtype=torch.float64)
    lost = squared_length = moved.new_zeros(())
    for exact, out, distance in zip(
        _chunks(points), _chunks(vectors, points), _chunks(moved, points), strict=True
    ):
        centred = exact.double() - mean
        out[:, :n_dims] = centred
        rounded = out[:, :n_dims].double()
        distance.copy_((centred - rounded).square_().sum(1).sqrt_())
        half = rounded.square_().sum(1) / -2
        out[:, n_dims] = half
        out[:, n_dims + 1] = half - out[:, n_dims]
        kept = out[:, n_dims].double() + out[:, n_dims + 1]
        lost = torch.maximum(lost, (half - kept).abs().max())
        squared_length = torch.maximum(squared_length, -2 * half.min())
    error = 2 * lost + _gamma(n_dims + 4, 2.0**-23) * 2 * squared_length
    return Filter(vectors, n_dims, moved.mul_(MARGIN), 0.0, MARGIN * error.item())


def _gamma(n_terms: int, unit: float) -> float:
    """n u / (1 - n u): bounds the relative error of a sum of n products of rounding unit u.

    N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section 3.1.
    """
    return n_terms * unit / (1 - n_terms * unit)


class Distances:
    """The points, and the exact squared distances between them.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows, on the device that computes.
    bfloat16 : bool
        Whether to filter in bfloat16 first; the float32 filter then takes what passes too much.
    """

    def __init__(self, points: Tensor, bfloat16: bool):
        self.points = points
        self.squared_norms = points.new_empty(len(points), dtype=torch.float64)
        for chunk, out in zip(_chunks(points), _chunks(self.squared_norms, points), strict=True):
            out.copy_(chunk.double().square_().sum(1))
        self.filters = [float32_filter(points, self.squared_norms)]
        if bfloat16:
            self.filters.insert(0, bfloat16_filter(points))

    def exact(self, rows: Tensor, columns: Tensor) -> Tensor:
        """All squared distances (n_rows, n_columns), float64, by |x|^2 + |y|^2 - 2 xy."""
        products = self.points[rows].double() @ self.points[columns].double().T
        norms = self.squared_norms[rows][:, None] + self.squared_norms[columns][None, :]
        return norms.sub_(products, alpha=2)

    def exact_pairs(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Squared distances of `rows[k]` to `columns[k]` (n_pairs,), float64."""
        products = [
            torch.linalg.vecdot(self.points[r].double(), self.points[c].double())
            for r, c in zip(_chunks(rows, self.points), _chunks(columns, self.points), strict=True)
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
        for tile in rows.split(TILE):
            tile = tile[bounds[tile] > 0]
            for columns in centres.split(TILE):
                self._refresh_tile(bounds, tile, columns, self.filters)

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


def _chunks(tensor: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split along the first axis into pieces for which rows of `like` in float64 fit the cache."""
    n_dims = (tensor if like is None else like).shape[1]
    elements = 1 << (16 if tensor.device.type == "cpu" else 22)
    return tensor.split(max(1, elements // n_dims))
