"""Canonical embeddings, and the checks of everything else that a caller of k-center gives.

Canonical rows are unit rows on a grid so coarse that float64 arithmetic on them is exact.

A distance computed in floating point depends on the order of its additions, hence on the device,
the number of threads and the block size; two distances that differ by less than that noise are then
ordered by chance. Rounding the *data* once removes the question. After it

- every coordinate is a multiple of 2^-24 of size at most 1, which float32 holds exactly;
- every product of two coordinates is a multiple of 2^-48, and any sum of such products over two
  unit rows stays below 2^5 (Cauchy-Schwarz), so it needs at most 53 bits: float64 dot products,
  squared norms and squared distances are exact, in every order and with or without fused
  multiply-add.
"""

import operator
from collections.abc import Sequence

import numpy as np
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.process.memory import check_memory

GRID = 2.0**-24
_CHUNK_ELEMENTS = 1 << 16  # 512 KiB in float64: a chunk stays in the second-level cache


def check_fits(
    n_rows: int, n_dims: int, device: torch.device | None = None, n_local: int = 1
) -> None:
    """Check that there is memory for canonical rows and for the filter's copy of them.

    Each of `n_local` ranks on this machine needs as much; a GPU is that of one rank.
    """
    what = f"k-center on embeddings of {n_rows:,} x {n_dims:,}"
    remedy = "take fewer images, an encoder of fewer features or more memory"
    rows = 4 * n_rows * n_dims
    # A row's bfloat16 copy has 4 coordinates more; 8 numbers of 8 bytes are the search's state.
    copies = 2 * n_rows * (n_dims + 4) + 64 * n_rows
    if device is not None and device.type == "cuda":
        check_memory(n_local * rows, what, remedy)
        check_memory(rows + copies, what, remedy, device)
    else:
        check_memory(n_local * (rows + copies), what, remedy)


def canonical_rows(embeddings: np.ndarray, ranks: Ranks = ALONE, n_free: int = 0) -> np.ndarray:
    """Bring each row to length 1 and its coordinates to multiples of 2^-24.

    Only correctly rounded elementwise operations are used, in a fixed order, so that the result is
    a function of the data alone: the same on every machine, and for float32 data as for the same
    values in float64.

    Parameters
    ----------
    embeddings : ndarray or memmap of shape (n_samples, n_dims), floating
        The features. Read once, a few hundred rows at a time.
    ranks : Ranks
        Each rank gets its own rows only: dealt like cards, so that all ranks' are alike.
    n_free : int
        How many rows to leave free, and untouched in memory, behind them.

    Returns
    -------
    ndarray of shape (n_own + n_free, n_dims), float32
        Rows rank, rank + n_ranks, ..., of length 1 up to sqrt(n_dims) * 2^-25, the effect of the
        rounding; then what is free.

    Raises
    ------
    InputError
        If the array is not two-dimensional, is empty or not floating, or if a row, this rank's or
        another's, holds NaN or infinity or only zeros.
    """
    check_embeddings(embeddings)
    own = embeddings[ranks.rank :: ranks.n_ranks]
    n_samples, n_dims = embeddings.shape
    canonical = np.empty((len(own) + n_free, n_dims), dtype=np.float32)
    step = max(1, _CHUNK_ELEMENTS // n_dims)
    first_bad = n_samples
    for start in range(0, len(own), step):
        rows = own[start : start + step].astype(np.float64)
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))  # NaN propagates
        good = np.isfinite(largest) & (largest > 0)
        if not good.all():
            first_bad = ranks.rank + (start + int(good.argmin())) * ranks.n_ranks
            break
        canonical[start : start + len(rows)] = canonical_chunk(rows, largest)
    # All ranks stop at the same row: one that stopped alone would leave the others waiting.
    first_bad = int(torch.stack(ranks.gather(torch.tensor(first_bad))).min())
    if first_bad < n_samples:
        finite = np.isfinite(embeddings[first_bad].astype(np.float64)).all()
        found = "is all zeros and has no direction; drop it"
        found = found if finite else "holds NaN or infinity; repair or drop it"
        raise InputError(f"row {first_bad} of the embeddings {found}")
    return canonical


def canonical_chunk(rows: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Canonical form of a few rows, float64 in and out; overwrites `rows`."""
    # A power of two brings the largest coordinate to [0.5, 1): exact, and squares cannot overflow.
    rows = np.ldexp(rows, -np.frexp(largest)[1][:, None], out=rows)
    rows /= np.sqrt(_sum_in_fixed_order(rows * rows))[:, None]
    rows /= GRID
    np.rint(rows, out=rows)
    rows *= GRID
    return rows


def _sum_in_fixed_order(terms: np.ndarray) -> np.ndarray:
    """Sum along the rows by halving: `numpy.sum` may add in another order on another CPU."""
    width = terms.shape[1]
    while width > 1:
        half = width // 2
        if width % 2:
            terms[:, 0] += terms[:, width - 1]
        terms[:, :half] += terms[:, half : 2 * half]
        width = half
    return terms[:, 0]


def check_embeddings(embeddings: np.ndarray) -> None:
    """Check that the embeddings are a floating matrix and not empty."""
    if not isinstance(embeddings, np.ndarray) or embeddings.ndim != 2:
        shape = getattr(embeddings, "shape", type(embeddings).__name__)
        raise InputError(
            f"embeddings {shape} must be a NumPy array of the shape (n_samples, n_dims); "
            "reshape them to one row a sample"
        )
    if embeddings.dtype.kind != "f":
        raise InputError(
            f"embeddings of the type {embeddings.dtype} must be floating; convert them to float32"
        )
    if 0 in embeddings.shape:
        raise InputError(f"embeddings {embeddings.shape} are empty; give at least one sample")


def check_indices(
    name: str, indices: Sequence[int] | np.ndarray | None, n_samples: int
) -> np.ndarray:
    """Return distinct indices into the pool as int64 (n_indices,); none at all for None."""
    if indices is None or len(indices) == 0:
        return np.empty(0, dtype=np.int64)
    array = np.asarray(indices)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} of the shape {array.shape} and type {array.dtype} must be a list of integers"
        )
    outside = (array < 0) | (array >= n_samples)
    if outside.any():
        raise InputError(
            f"{name} holds {array[outside.argmax()]}, outside the pool of {n_samples}; "
            f"give indices from 0 to {n_samples - 1}"
        )
    values, counts = np.unique(array, return_counts=True)
    if len(values) < len(array):
        raise InputError(f"{name} holds {values[counts.argmax()]} twice; drop the repeated ones")
    return array.astype(np.int64)


def check_counts(n_select: int, n_available: int, n_initial: int, seed: int) -> None:
    """Check 1 <= n_select <= n_available, 1 <= n_initial <= n_select and seed >= 0."""
    for name, value, smallest in (
        ("n_select", n_select, 1),
        ("n_initial", n_initial, 1),
        ("seed", seed, 0),
    ):
        try:
            operator.index(value)
        except TypeError:
            raise InputError(f"{name} {value!r} must be an integer") from None
        if value < smallest:
            raise InputError(f"{name} {value} must be at least {smallest}; raise it")
    if n_select > n_available:
        raise InputError(
            f"n_select {n_select} exceeds the {n_available} points that are not centres yet; "
            "lower it"
        )
    if n_initial > n_select:
        raise InputError(f"n_initial {n_initial} exceeds n_select {n_select}; lower it")


def check_device(device: str | torch.device) -> torch.device:
    """Return the device, after a tiny allocation that proves that it is there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device {device!r} does not work here ({reason}); use 'cpu'") from None
    if found.type not in ("cpu", "cuda"):  # the others lack float64 or are untested
        raise InputError(f"device {device!r} is not supported; use 'cpu' or 'cuda'")
    return found
