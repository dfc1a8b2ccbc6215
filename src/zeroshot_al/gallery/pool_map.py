"""The pool at a glance: a map in two dimensions, and clusters with their share of the picks.

References
----------
L. van der Maaten and G. Hinton, "Visualizing Data using t-SNE", JMLR 9 (2008). D. Kobak and P.
Berens, "The art of using t-SNE for single-cell transcriptomics", Nature Communications 10 (2019):
the start from principal components.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.gallery.covering_radii import BLOCK, sample_indices

N_FIRST = 200  # picks that are on the map whatever is drawn
PERPLEXITY = 30
MAP_STEPS = 500  # of t-SNE: more move little, and cost most of the stage
MAP_DIMS = 50  # principal components that t-SNE sees
CLUSTER_SAMPLE = 10_000  # points that the cluster centres are learned from


@dataclass(frozen=True, eq=False)
class PoolMap:
    """Places of some images of the pool in the unit square.

    Parameters
    ----------
    indices : ndarray of shape (n_points,), int64
        Pool indices.
    places : ndarray of shape (n_points, 2), float64
        In [0, 1]. Near places mean similar images; directions and far distances mean nothing.
    """

    indices: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of similar images, the largest first.

    Parameters
    ----------
    pool_counts, pick_counts : ndarray of shape (n_clusters,), int64
        How many of the pool's and of the picked images lie in each.
    typical : list of list of int
        Pool indices of the images nearest to each centre, the nearest first.
    """

    pool_counts: np.ndarray
    pick_counts: np.ndarray
    typical: list[list[int]]

    @property
    def pool_shares(self) -> np.ndarray:
        """Share of the pool in each."""
        return self.pool_counts / self.pool_counts.sum()

    @property
    def pick_shares(self) -> np.ndarray:
        """Share of the picks in each."""
        return self.pick_counts / self.pick_counts.sum()


def map_pool(rows: np.ndarray, picks: Sequence[int], n_points: int, seed: int) -> PoolMap:
    """Lay out the first picks and a random sample of the pool by t-SNE, from PCA's start.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    picks : sequence of int
        Pool indices by rank.
    n_points : int
        How many images to show.
    seed : int
        Draws the sample.
    """
    first = np.asarray(picks[: min(N_FIRST, n_points)], dtype=np.int64)
    drawn = sample_indices(len(rows), n_points, seed)
    others = np.setdiff1d(drawn, first)
    others = others[sample_indices(len(others), n_points - len(first), seed)]
    indices = np.sort(np.concatenate([first, others]))
    return PoolMap(indices, lay_out(rows[indices], seed))


def lay_out(points: np.ndarray, seed: int) -> np.ndarray:
    """Return places in the unit square, float64 (n_points, 2), of rows (n_points, n_dims)."""
    # Imported here, because it costs a second that other users of the library need not pay.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if len(points) < 5:
        places = np.stack([np.arange(len(points)), np.zeros(len(points))], axis=1)
    else:
        # One thread: sums by several threads differ from run to run, and the layout with them.
        with threadpool_limits(1):
            n_components = min(MAP_DIMS, points.shape[1], len(points))
            reduced = PCA(n_components, svd_solver="full").fit_transform(points)
            perplexity = min(PERPLEXITY, (len(points) - 1) / 3)
            places = TSNE(
                2,
                perplexity=perplexity,
                max_iter=MAP_STEPS,
                init="pca" if n_components >= 2 else "random",
                random_state=seed,
            ).fit_transform(reduced)
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    return ((places - low) / span).astype(np.float64)


def count_clusters(
    rows: np.ndarray, picks: Sequence[int], n_clusters: int, n_typical: int, seed: int
) -> Clusters:
    """Group the pool by k-means, and count pool and picks in each group.

    The centres are learned from at most `CLUSTER_SAMPLE` points; every image is then counted with
    its nearest centre.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        Canonical rows.
    picks : sequence of int
        Pool indices.
    n_clusters : int
        No more are made than there are images.
    n_typical : int
        How many images to name for each cluster.
    seed : int
        Draws the sample and the first centres.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    sample = rows[sample_indices(len(rows), CLUSTER_SAMPLE, seed)]
    n_clusters = min(n_clusters, len(np.unique(sample, axis=0)))
    with threadpool_limits(1):  # as for the map
        means = KMeans(n_clusters, n_init=1, random_state=seed).fit(sample)
        nearest = means.predict(rows)
    centres = means.cluster_centers_.astype(np.float32)
    pool_counts = np.bincount(nearest, minlength=n_clusters)
    pick_counts = np.bincount(nearest[np.asarray(picks, dtype=np.int64)], minlength=n_clusters)
    largest_first = np.argsort(-pool_counts, kind="stable")
    typical = []
    for cluster in largest_first:
        members = np.flatnonzero(nearest == cluster)
        distances = _squared_distances(rows, members, centres[cluster])
        typical.append(members[np.argsort(distances, kind="stable")[:n_typical]].tolist())
    return Clusters(pool_counts[largest_first], pick_counts[largest_first], typical)


def _squared_distances(rows: np.ndarray, members: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Squared distances of some rows to a centre; a block of rows at a time is copied."""
    distances = np.empty(len(members), dtype=rows.dtype)
    for start in range(0, len(members), BLOCK):
        block = slice(start, start + BLOCK)
        distances[block] = ((rows[members[block]] - centre) ** 2).sum(axis=1)
    return distances
