"""Nearest-centre distances, exact, at the speed of a low-precision matrix product.

The squared distance of a point to a new centre matters only if it is below the point's bound, and
of several new centres only the nearest matters. A cheap dot product with a *proven* error decides
both for nearly all pairs; the few that it cannot rule out are evaluated in float64, which is exact
on canonical rows (see `_kcenter_grid`). The filter's precision thus changes the time and never the
result.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

TILE = 1024  # rows and columns of a product: 4 MiB, which stays in the cache
DENSE = 64  # a float64 product beats evaluating single pairs from 1 candidate in 64 on
BFLOAT16_GAIN = 1.3  # the smallest speed-up of the product that pays for more candidates


class Filter:
    """A copy of the points in one precision, and how far its dot products can be off.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows.
    dtype : torch.dtype
        float32 (then nothing is copied) or bfloat16.
    """

    def __init__(self, points: Tensor, dtype: torch.dtype):
        self.points = points.to(dtype)
        self.error = dot_error(points, self.points)
        n_dims = points.shape[1]
        # A fresh output costs up to a third of the product in page faults, so buffers are kept.
        self._rows = self.points.new_empty(TILE * n_dims)
        self._columns = self.points.new_empty(TILE * n_dims)
        self._products = self.points.new_empty(TILE * TILE)

    def products(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Dot products (n_rows, n_columns) of at most TILE x TILE points; valid until next call."""
        n_dims = self.points.shape[1]
        left = self._rows[: len(rows) * n_dims].view(len(rows), n_dims)
        right = self._columns[: len(columns) * n_dims].view(len(columns), n_dims)
        torch.index_select(self.points, 0, rows, out=left)
        torch.index_select(self.points, 0, columns, out=right)
        out = self._products[: len(rows) * len(columns)].view(len(rows), len(columns))
        return torch.mm(left, right.T, out=out)


def dot_error(points: Tensor, low: Tensor) -> float:
    r"""Bound the error of a dot product of two rows of `low` as one of two rows of `points`.

    Let R bound the length of a row, r the length of its rounding residual, S = R + r, and
    u = 2^-24. Three errors add up:

    1. Rounded factors: with x' = x + e and y' = y + f, |e|, |f| <= r,
       ``|x'y' - xy| = |ey + xf + ef| <= 2 r R + r^2`` (Cauchy-Schwarz).
    2. Float32 accumulation of d products, in any order, fused or not:
       ``gamma_d |x'| |y'| <= gamma_d S^2`` with ``gamma_d = d u / (1 - d u)`` (Higham, Accuracy
       and Stability of Numerical Algorithms, 2nd ed., section 3.1). bfloat16 products are exact in
       float32, and no product of canonical rows is small enough to underflow.
    3. The rounding of the output to bfloat16: the values are at most B = S^2 (1 + gamma_d); below
       1 the spacing is at most 2^-8, so half of it is 2^-9; from 1 to B rounding moves a value by
       no more than its distance to 1, at most B - 1.

    For float32 r = 0 and the third is absent: d u up to the norm's deviation from 1.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows.
    low : Tensor of shape (n_samples, n_dims), float32 or bfloat16
        The same, rounded.

    Returns
    -------
    float
        The bound, in units of the dot product of unit rows.
    """
    longest = residual = 0.0
    for exact, rounded in zip(_chunks(points), _chunks(low), strict=True):
        longest = max(longest, exact.double().square().sum(1).max().item())
        if low.dtype != points.dtype:
            difference = exact.double() - rounded.double()
            residual = max(residual, difference.square().sum(1).max().item())
    # The squared sums may be rounded by d 2^-53; the factor covers that and the few roundings here.
    margin = 1 + 1e-6
    longest, residual = margin * longest**0.5, margin * residual**0.5
    n_dims = points.shape[1]
    gamma = n_dims * 2.0**-24 / (1 - n_dims * 2.0**-24)
    largest = (longest + residual) ** 2 * (1 + gamma)
    error = 2 * residual * longest + residual**2 + gamma * (longest + residual) ** 2
    if low.dtype == torch.bfloat16:
        error += 2.0**-9 + max(0.0, largest - 1)
    return margin * error


class Distances:
    """The points, and the exact squared distances between them.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows, on the device that computes.
    dtypes : tuple of torch.dtype
        Precisions of the filters, from the fastest to the finest.
    """

    def __init__(self, points: Tensor, dtypes: tuple[torch.dtype, ...]):
        self.points = points
        self.filters = [Filter(points, dtype) for dtype in dtypes]
        self.squared_norms = torch.cat([c.double().square().sum(1) for c in _chunks(points)])
        self._smallest_norm = self.squared_norms.min().item()
        self._norm_spread = self.squared_norms.max().item() - self._smallest_norm

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
        rows = rows[bounds[rows] > 0]
        for columns in centres.split(TILE):
            for tile in rows.split(TILE):
                self._refresh_tile(bounds, tile, columns, self.filters)

    def _refresh_tile(
        self, bounds: Tensor, rows: Tensor, columns: Tensor, filters: list[Filter]
    ) -> None:
        """Refresh a tile with the first filter, and with the next one where too much passes."""
        if not filters:
            nearest = self.exact(rows, columns).amin(1)
            bounds[rows] = torch.minimum(bounds[rows], nearest)
            return
        products = filters[0].products(rows, columns)
        largest = products.amax(1).float()
        threshold = self._threshold(bounds[rows], rows, filters[0].error)
        hit = (largest >= threshold).nonzero()[:, 0]
        if not len(hit):
            return
        # A centre can be the nearest only if its product is within both errors of the largest.
        near_largest = largest - (2 * filters[0].error + self._norm_spread / 2 + 2.0**-22)
        floor = torch.maximum(threshold, near_largest)[hit]
        candidates = products[hit] >= floor[:, None]
        if DENSE * candidates.sum() > candidates.numel():
            self._refresh_tile(bounds, rows[hit], columns, filters[1:])
            return
        row, column = candidates.nonzero().unbind(1)
        row = rows[hit][row]
        bounds.scatter_reduce_(0, row, self.exact_pairs(row, columns[column]), "amin")

    def _threshold(self, bounds: Tensor, rows: Tensor, error: float) -> Tensor:
        """Filtered products below this (n_rows,), float32, prove that no bound falls.

        A centre c lowers the bound b of x only if |x|^2 + |c|^2 - 2 xc < b, hence only if
        xc > (|x|^2 + min |c|^2 - b) / 2, and a filtered product is at most `error` below xc. The
        last term covers the rounding to float32, below 2^-23 for values below 2.
        """
        product = (self.squared_norms[rows] + self._smallest_norm - bounds) / 2
        return (product - error - 2.0**-22).float()


def filter_dtypes(precision: str, device: torch.device) -> tuple[torch.dtype, ...]:
    """The filters for a precision: "float32", "bf16" or, by a probe, "auto"."""
    if precision == "bf16" or (precision == "auto" and _bfloat16_pays(device)):
        return torch.bfloat16, torch.float32
    return (torch.float32,)


@cache
def _bfloat16_pays(device: torch.device) -> bool:
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
    """Switch off, for a while, the user's settings under which the error bounds are not proven.

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
    """Split along the first axis into pieces whose rows, in float64, stay in the cache."""
    n_dims = (tensor if like is None else like).shape[1]
    elements = 1 << (16 if tensor.device.type == "cpu" else 22)
    return tensor.split(max(1, elements // n_dims))
