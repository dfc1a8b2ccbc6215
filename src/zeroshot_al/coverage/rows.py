"""The rows that coverage compares, and the checks of what else a caller gives.

Embeddings are centred, then brought to length 1 and to the grid of `kcenter.input`, on which
float64 distances are exact: equal points then tie exactly. Features without the centring share a
large mean, and all their cosines are near 1.
"""

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.kcenter.input import canonical_chunk, check_embeddings

_CHUNK_ELEMENTS = 1 << 20


def centred_rows(embeddings: np.ndarray) -> np.ndarray:
    """Subtract the mean row, then bring each row to length 1 on a grid of 2^-24.

    Parameters
    ----------
    embeddings : ndarray or memmap of shape (n_samples, n_dims), floating
        The features. Read twice, a chunk at a time.

    Returns
    -------
    ndarray of shape (n_samples, n_dims), float32
        Canonical rows, as `kcenter.input.canonical_rows` of the centred embeddings.

    Raises
    ------
    InputError
        If the array is not a floating matrix, holds NaN or infinity, or if a row equals the mean
        up to rounding and so has no direction.
    """
    check_embeddings(embeddings)
    n_samples, n_dims = embeddings.shape
    step = max(1, _CHUNK_ELEMENTS // n_dims)
    total = np.zeros(n_dims)
    for start in range(0, n_samples, step):
        chunk = embeddings[start : start + step].astype(np.float64)
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            raise InputError(
                f"row {start + finite.argmin()} of the embeddings holds NaN or infinity; "
                "repair or drop it"
            )
        total += chunk.sum(axis=0)
    mean = total / n_samples
    rounding = np.finfo(embeddings.dtype).eps
    rows = np.empty((n_samples, n_dims), dtype=np.float32)
    for start in range(0, n_samples, step):
        chunk = embeddings[start : start + step].astype(np.float64)
        size = np.abs(chunk).max(axis=1)
        chunk -= mean
        largest = np.abs(chunk).max(axis=1)
        directed = largest > rounding * size
        if not directed.all():
            raise InputError(
                f"row {start + directed.argmin()} of the embeddings equals the mean of all and has "
                "no direction once they are centred; drop it"
            )
        rows[start : start + step] = canonical_chunk(chunk, largest)
    return rows


def check_weights(weights: np.ndarray | None, n_samples: int) -> np.ndarray:
    """Return finite weights of at least 0, float64 (n_samples,), scaled to a maximum of 1."""
    if weights is None:
        return np.ones(n_samples)
    array = np.asarray(weights)
    if array.shape != (n_samples,) or array.dtype.kind not in "fiu":
        raise InputError(
            f"weights of the shape {array.shape} and type {array.dtype} must be {n_samples} "
            "numbers, one a sample"
        )
    good = np.isfinite(array) & (array >= 0)
    if not good.all():
        raise InputError(f"weights holds {array[good.argmin()]}; give finite numbers of at least 0")
    largest = array.max()
    if not largest > 0:
        raise InputError("weights are all 0 and leave nothing to cover; give some that are above 0")
    return array.astype(np.float64) / largest
