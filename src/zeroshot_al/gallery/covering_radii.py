"""How well a set of picks covers the pool: radii, neighbours, outliers, and where it flattens.

All functions take canonical rows (`kcenter.input.canonical_rows`): unit length, float32, so that
distances lie in [0, 2] and are those of the k-center order. Products are float32: a distance is
exact to about 1e-6 / distance.

References
----------
T. F. Gonzalez (1985), as in `kcenter`, for the covering radius. F. Angiulli and C. Pizzuti, "Fast
Outlier Detection in High Dimensional Spaces", PKDD 2002: the sum, here the mean, of the distances
to the k nearest neighbours as the weight of an outlier. V. Satopaa et al., "Finding a 'Kneedle' in
a Haystack", ICDCS workshops 2011.
"""

import math
from collections.abc import Sequence

import numpy as np

from zeroshot_al.base.errors import InputError

BLOCK = 1024  # rows of one product
FIRST_CENTRES = 256  # compared with the whole pool before any point is ruled out
WITNESSES = 64  # points whose final distance proves which others cannot matter
REFERENCE_POINTS = 20_000  # a larger pool is represented by so many of its points


def nearest_earlier(rows: np.ndarray, sequence: Sequence[int], n_given: int = 0) -> np.ndarray:
    """Find the nearest of the earlier picks for each pick.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    sequence : sequence of int
        Pool indices: `n_given` that were labelled before, in any order, then the picks by rank.
    n_given : int
        How many of the sequence are earlier than every pick.

    Returns
    -------
    ndarray of shape (len(sequence) - n_given,), int64
        Pool index of the nearest earlier one, of equally near ones the first in the sequence;
        -1 for a pick with nothing before it.
    """
    sequence = np.asarray(sequence, dtype=np.int64)
    points = rows[sequence]
    nearest = np.full(len(sequence), -1, dtype=np.int64)
    for start in range(n_given, len(points), BLOCK):
        stop = min(start + BLOCK, len(points))
        similarity = points[start:stop] @ points[:stop].T
        # The products reach up to the block's own picks, of which only the earlier ones count.
        later = np.arange(stop)[None, :] >= np.arange(start, stop)[:, None]
        similarity[later] = -np.inf
        nearest[start:stop] = sequence[similarity.argmax(axis=1)]
    if n_given == 0 and len(nearest):
        nearest[0] = -1
    return nearest[n_given:]


def distances(rows: np.ndarray, indices: Sequence[int], others: Sequence[int]) -> list[float]:
    """Distance in float64 of each pool index to the other beside it; infinite where that is -1."""
    pairs = zip(indices, others, strict=True)
    return [
        math.inf if other < 0 else float(np.linalg.norm(rows[index].astype(float) - rows[other]))
        for index, other in pairs
    ]


def covering_radii(
    rows: np.ndarray, sequence: Sequence[int], counts: Sequence[int], given: Sequence[int] = ()
) -> np.ndarray:
    """Measure the covering radius of the first `counts[i]` of a sequence of centres.

    The covering radius is the largest distance of any point to its nearest centre. It never grows,
    so a point that is nearer to its centre than the last radius can decide none of them. Exact
    final distances of a few far points bound the last radius from below, and most of the pool is
    ruled out after the first centres.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    sequence : sequence of int
        Pool indices of the centres, in order.
    counts : sequence of int
        Increasing, from 1 to len(sequence).
    given : sequence of int
        Pool indices that are centres from the start.

    Returns
    -------
    ndarray of shape (len(counts),), float64

    Raises
    ------
    InputError
        If the counts do not increase from 1 to at most len(sequence).
    """
    counts = list(counts)
    if not counts or counts[0] < 1 or counts[-1] > len(sequence) or counts != sorted(set(counts)):
        raise InputError(
            f"counts {counts} must increase from 1 to at most the {len(sequence)} centres"
        )
    centres = rows[np.asarray(sequence[: counts[-1]], dtype=np.int64)]
    similarity = np.full(len(rows), -np.inf, dtype=np.float32)  # to the nearest centre so far
    undecided = np.arange(len(rows))
    if len(given):
        _compare(rows, undecided, similarity, rows[np.asarray(given, dtype=np.int64)])
    stops = sorted({*counts, min(FIRST_CENTRES, counts[-1])})
    found, done = {}, 0
    for stop in stops:
        _compare(rows, undecided, similarity, centres[done:stop])
        done = stop
        found[stop] = similarity[undecided].min()
        # What the farthest points now will have come to by the last centre.
        far = undecided[np.argsort(similarity[undecided], kind="stable")[:WITNESSES]]
        final = similarity[far]
        for start in range(stop, len(centres), BLOCK):
            final = np.maximum(final, (rows[far] @ centres[start : start + BLOCK].T).max(axis=1))
        # The bound is loosened by float32's noise: block shapes may change the last digits.
        undecided = undecided[similarity[undecided] <= final.min() + 1e-5]
    radii = np.sqrt(np.clip(2 - 2 * np.array([found[count] for count in counts], float), 0, 4))
    return np.minimum.accumulate(radii)


def _compare(
    rows: np.ndarray, undecided: np.ndarray, similarity: np.ndarray, centres: np.ndarray
) -> None:
    """Raise `similarity` of the points `undecided` to that of their nearest centre, in place."""
    for start in range(0, len(undecided), BLOCK):
        block = undecided[start : start + BLOCK]
        points = rows[block]
        for first in range(0, len(centres), BLOCK):
            found = (points @ centres[first : first + BLOCK].T).max(axis=1)
            similarity[block] = np.maximum(similarity[block], found)


def outlier_scores(
    rows: np.ndarray, indices: Sequence[int], n_neighbours: int, seed: int
) -> np.ndarray:
    """Mean distance of some points to their nearest neighbours in the pool.

    Of a pool above `REFERENCE_POINTS` images, the neighbours are looked for in a random sample of
    that size: distances are then a little larger for all, and their ranking stays what it is for.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    indices : sequence of int
        Pool indices of the points to score.
    n_neighbours : int
        How many neighbours, the point itself not counted.
    seed : int
        Draws the sample.

    Returns
    -------
    ndarray of shape (len(indices),), float64
        Large for isolated points.

    Raises
    ------
    InputError
        If there are not as many neighbours.
    """
    if not 1 <= n_neighbours < len(rows):
        raise InputError(
            f"n_neighbours {n_neighbours} must be from 1 to {len(rows) - 1}, the number of other "
            "images in the pool; change it in params.yaml"
        )
    reference = sample_indices(len(rows), max(REFERENCE_POINTS, n_neighbours + 1), seed)
    column_of = {int(index): column for column, index in enumerate(reference)}
    indices = np.asarray(indices, dtype=np.int64)
    reference_rows = rows[reference].T
    scores = np.empty(len(indices))
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        similarity = rows[block] @ reference_rows
        for line, index in enumerate(block.tolist()):
            if index in column_of:
                similarity[line, column_of[index]] = -np.inf
        similarity.partition(similarity.shape[1] - n_neighbours, axis=1)
        nearest = similarity[:, -n_neighbours:].astype(np.float64)
        scores[start : start + BLOCK] = np.sqrt(np.clip(2 - 2 * nearest, 0, 4)).mean(axis=1)
    return scores


def sample_indices(n_samples: int, n_drawn: int, seed: int) -> np.ndarray:
    """Draw distinct indices below n_samples, in rising order; all of them if there are no more."""
    if n_samples <= n_drawn:
        return np.arange(n_samples)
    return np.sort(np.random.default_rng(seed).permutation(n_samples)[:n_drawn])


def find_knee(x: np.ndarray, y: np.ndarray) -> int | None:
    """Find where a falling curve flattens: the point farthest below the chord of its ends.

    This is Kneedle with the whole curve at hand, without smoothing and for one knee. The answer
    depends on where the curve ends, as with every definition of a knee.

    Parameters
    ----------
    x, y : ndarray of shape (n,), float
        `x` increases; `y` does not.

    Returns
    -------
    int or None
        Position of the knee; None if the curve does not fall or never lies below its chord.
    """
    if len(x) < 3 or not y[0] > y[-1]:
        return None
    below = 1 - (x - x[0]) / (x[-1] - x[0]) - (y - y[-1]) / (y[0] - y[-1])
    knee = int(below.argmax())
    return knee if below[knee] > 1e-9 else None
