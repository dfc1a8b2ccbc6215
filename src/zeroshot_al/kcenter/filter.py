"""What a low-precision matrix product proves about distances.

A product has a *proven* error, so it can rule out that a point is near a centre, or prove that it
is. The bounds are derived in the docstring of each filter.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 1024  # rows and columns of a product: 4 MiB, which stays in the cache
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
        self._gathered: Tensor | None = None  # the indices of what `_columns` holds

    def products(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Products (n_rows, n_columns) of at most TILE x TILE points; valid until the next call."""
        width = self.vectors.shape[1]
        left = self._rows[: len(rows) * width].view(len(rows), width)
        right = self._columns[: len(columns) * width].view(len(columns), width)
        torch.index_select(self.vectors, 0, rows, out=left)
        if columns is not self._gathered:  # one tile of columns meets many tiles of rows
            torch.index_select(self.vectors, 0, columns, out=right)
            right[:, self.n_dims :] = right[:, self.n_dims :].roll(2, 1)
            self._gathered = columns
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


def float32_filter(points: Tensor) -> Filter:
    """Filter with the canonical rows themselves, without a copy.

    ``xy = 1 - |x - y|^2 / 2 + (|x|^2 - 1) / 2 + (|y|^2 - 1) / 2``, so with the offset 1 the norms'
    largest deviation from 1 is an error: rounding to the grid moves a norm by up to
    ``r = sqrt(d) 2^-25``, its square by ``2 r + r^2``. Float32 accumulation of d products, in any
    order, fused or not, adds at most ``gamma_d |x| |y|`` (see `_gamma`). No point is moved.
    """
    n_dims = points.shape[1]
    rounding = n_dims**0.5 * 2.0**-25
    error = rounding * (2 + rounding) + _gamma(n_dims, 2.0**-24) * (1 + rounding) ** 2
    unmoved = points.new_zeros(1, dtype=torch.float64).expand(len(points))
    return Filter(points, n_dims, unmoved, 1.0, MARGIN * error)


class BFloat16Filter(Filter):
    """Filter with the rows rounded to bfloat16, after a mean is subtracted.

    Distances do not change when all points are shifted alike, and the rounding is relative: rows
    that share a large mean, as pooled activations do, are moved less when it is gone.

    Let z be a rounded row and h = -|z|^2 / 2. The row (z, h, h', 1, 1), where h' is what the
    rounding of h to bfloat16 loses, times the column (z, 1, 1, h, h') is -|z_i - z_j|^2 / 2: the
    offset is 0, and `moved` is the length of the rounding residual, measured. Two errors remain:

    1. Accumulation of d + 4 products, which are exact in float32. Their sizes sum to at most
       ``|z_i| |z_j| + |h_i| + |h_j| <= 2 L^2`` with L the longest row, hence an error of at most
       ``gamma_{d+4} 2 L^2``, with the unit 2^-23 since tensor cores truncate (Fasi et al. 2021).
    2. What h + h' loses, measured, once for the row and once for the column.

    The error thus grows with what the filter holds.

    Parameters
    ----------
    points : Tensor of shape (n_samples, n_dims), float32
        Canonical rows; none is read before `hold`.
    mean : Tensor of shape (n_dims,), float64
        What is subtracted. Any vector is right, and the points' mean is best.
    """

    def __init__(self, points: Tensor, mean: Tensor):
        n_samples, n_dims = points.shape
        vectors = points.new_empty((n_samples, n_dims + 4), dtype=torch.bfloat16)
        super().__init__(vectors, n_dims, points.new_empty(n_samples, dtype=torch.float64), 0.0, 0)
        self.points, self.mean = points, mean
        self.lost, self.squared_length = 0.0, 0.0

    def hold(self, rows: slice) -> None:
        """Take over the points in `rows`, at least one, which can then be multiplied."""
        n_dims = self.n_dims
        lost = squared_length = self.moved.new_zeros(())
        for exact, out, distance in zip(
            *(chunks(part[rows], self.points) for part in (self.points, self.vectors, self.moved)),
            strict=True,
        ):
            centred = exact.double() - self.mean
            out[:, :n_dims] = centred
            rounded = out[:, :n_dims].double()
            distance.copy_((centred - rounded).square_().sum(1).sqrt_().mul_(MARGIN))
            half = rounded.square_().sum(1) / -2
            out[:, n_dims] = half
            out[:, n_dims + 1] = half - out[:, n_dims]
            out[:, n_dims + 2 :] = 1
            kept = out[:, n_dims].double() + out[:, n_dims + 1]
            lost = torch.maximum(lost, (half - kept).abs().max())
            squared_length = torch.maximum(squared_length, -2 * half.min())
        self.lost = max(self.lost, lost.item())
        self.squared_length = max(self.squared_length, squared_length.item())
        accumulation = _gamma(n_dims + 4, 2.0**-23) * 2 * self.squared_length
        self.error = MARGIN * (2 * self.lost + accumulation)


def _gamma(n_terms: int, unit: float) -> float:
    """n u / (1 - n u): bounds the relative error of a sum of n products of rounding unit u.

    N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., 2002, section 3.1.
    """
    return n_terms * unit / (1 - n_terms * unit)


def chunks(tensor: Tensor, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split along the first axis into pieces for which rows of `like` in float64 fit the cache."""
    n_dims = (tensor if like is None else like).shape[1]
    elements = 1 << (16 if tensor.device.type == "cpu" else 22)
    return tensor.split(max(1, elements // n_dims))
