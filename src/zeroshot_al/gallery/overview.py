"""What the gallery tells: the order's coverage beside random's, a map, clusters, a cut-off."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.gallery.annotation import AnnotateParams
from zeroshot_al.gallery.covering_radii import covering_radii, find_knee
from zeroshot_al.gallery.exports import Pick
from zeroshot_al.gallery.pool_map import Clusters, PoolMap, count_clusters, map_pool
from zeroshot_al.methods import METHODS
from zeroshot_al.pool import Pool
from zeroshot_al.sources.image_files import ImageFiles
from zeroshot_al.sources.removed import Removed

N_COUNTS = 240  # numbers of labels at which the order's radius is drawn
N_RANDOM_COUNTS = 25  # and random's
N_TYPICAL = 3  # images shown of each cluster


@dataclass(frozen=True, eq=False)
class Overview:
    """Everything that the gallery tells.

    Parameters
    ----------
    method : str
        Label of the order's method.
    n_pool : int
        Images that could be picked, labelled ones included.
    order : sequence of int, length budget
        Pool index of each pick.
    picks : sequence of Pick, length budget
    removed : Removed
    n_labelled : int
        Images of the pool that have a label already.
    counts, radii : sequences of length n_counts
        Numbers of labels, and the order's covering radius with them.
    random_counts : sequence of int, length n_random_counts
    random_radii : ndarray of shape (n_random, n_random_counts), float64
    knee : int or None
        Suggested number of labels.
    pool_map : PoolMap
    clusters : Clusters
    images : ndarray of shape (n_samples, height, width, 3), uint8, or None
        None for a pool of ready-made embeddings: ids then stand for thumbnails.
    folder : str
        The images' folder, for the commands; "" if there are no files.
    document_root : str
        The folder above it, for Label Studio.
    awaits_labels : bool
        Whether the images have files and no labels: a classifier can be trained once they have.
    """

    method: str
    n_pool: int
    order: Sequence[int]
    picks: Sequence[Pick]
    removed: Removed
    n_labelled: int
    counts: Sequence[int]
    radii: np.ndarray
    random_counts: Sequence[int]
    random_radii: np.ndarray
    knee: int | None
    pool_map: PoolMap
    clusters: Clusters
    images: np.ndarray | None
    folder: str
    document_root: str
    awaits_labels: bool


def make_overview(
    pool: Pool,
    rows: np.ndarray,
    order: Sequence[int],
    radii: np.ndarray,
    picks: Sequence[Pick],
    removed: Removed,
    params: AnnotateParams,
    files: ImageFiles | None,
) -> Overview:
    """Measure and draw what the gallery shows of the first len(picks) of an order.

    Parameters
    ----------
    pool : Pool
    rows : ndarray of shape (n_train, n_dims), float32
        Canonical rows of the pool's train images.
    order : sequence of int, length n_ordered
        Pool indices by rank, the whole order.
    radii : ndarray of shape (n_ordered,), float64
    picks : sequence of Pick, length budget
    removed : Removed
    params : AnnotateParams
    files : ImageFiles or None
        The files of the pool's images; None if they have none.
    """
    budget, labelled = len(picks), pool.labelled_indices
    counts, covered = order_curve(radii, budget)
    random_counts = _spread(budget, N_RANDOM_COUNTS)
    free = np.setdiff1d(np.arange(len(rows)), labelled)
    random_radii = np.stack(
        [
            covering_radii(
                rows,
                np.random.default_rng([params.seed, draw]).permutation(free),
                random_counts,
                labelled,
            )
            for draw in range(params.n_random)
        ]
    )
    shown = _thin(counts, N_COUNTS)
    knee = find_knee(counts.astype(float), covered)
    if knee is not None:
        shown = np.union1d(shown, [knee])
    written = files is None and params.write_images
    labels = {method.name: method.label for method in METHODS}
    first = list(order[:budget])
    return Overview(
        method=labels.get(params.method, params.method),
        n_pool=len(rows),
        order=first,
        picks=picks,
        removed=removed,
        n_labelled=len(labelled),
        counts=counts[shown].tolist(),
        radii=covered[shown],
        random_counts=random_counts,
        random_radii=random_radii,
        knee=None if knee is None else int(counts[knee]),
        pool_map=map_pool(rows, first, params.map_points, params.seed),
        clusters=count_clusters(rows, first, params.n_clusters, N_TYPICAL, params.seed),
        images=pool.images if pool.images.size else None,
        folder="data/annotate" if written else "" if files is None else str(files.folder),
        document_root="data" if written else "" if files is None else str(files.folder.parent),
        awaits_labels=files is not None and not pool.is_labelled,
    )


def order_curve(radii: np.ndarray, budget: int) -> tuple[np.ndarray, np.ndarray]:
    """Covering radius of the first picks, out of the radii that the order was written with.

    The pick of rank b was the farthest from all before it: its radius is what b picks leave. Of
    several random start points all but the first have smaller ones; the largest later radius then
    stands for them, which is not above the true one.

    Parameters
    ----------
    radii : ndarray of shape (n_ordered,), float64
    budget : int
        At most n_ordered.

    Returns
    -------
    counts : ndarray of shape (n_counts,), int64
    covering : ndarray of shape (n_counts,), float64
    """
    left = np.append(radii, 0.0)[1:]
    covering = np.maximum.accumulate(left[::-1])[::-1]
    return np.arange(1, budget + 1), covering[:budget]


def _spread(budget: int, n_counts: int) -> list[int]:
    """Give about n_counts numbers from 1 to budget: evenly, and some more near the beginning."""
    even = np.linspace(1, budget, n_counts)
    early = np.geomspace(1, budget, n_counts // 2)
    return np.unique(np.rint(np.concatenate([even, early])).astype(int)).tolist()


def _thin(counts: np.ndarray, n_kept: int) -> np.ndarray:
    """Positions to draw: about n_kept, the first and the last among them."""
    wanted = np.concatenate(
        [np.linspace(0, len(counts) - 1, n_kept), np.geomspace(1, len(counts), n_kept // 4) - 1]
    )
    return np.unique(np.rint(wanted).astype(int))
