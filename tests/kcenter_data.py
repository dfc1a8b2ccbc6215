"""Data that k-center is tested on, and the brute force that it is tested against."""

import math

import numpy as np

from zeroshot_al.kcenter.input import canonical_rows


def brute_force(embeddings, n_select, start=(), initial=()):
    """Greedy k-center from the paper's pseudocode: one pick, all distances, again."""
    points = canonical_rows(embeddings).astype(np.float64)
    nearest = np.full(len(points), np.inf)
    order, radius = [], []
    for step in range(len(initial) + n_select):
        forced = [*initial, *start]
        pick = forced[step] if step < len(forced) else int(np.argmax(nearest))
        order.append(pick)
        radius.append(math.sqrt(max(nearest[pick], 0)))
        nearest = np.minimum(nearest, ((points - points[pick]) ** 2).sum(axis=1))
        nearest[order] = -1
    return np.array(order[len(initial) :]), np.array(radius[len(initial) :])


def clustered(n_samples=700, n_dims=24, seed=0):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((12, n_dims))
    noise = rng.gamma(2, 0.1, size=(12, 1))
    cluster = rng.integers(12, size=n_samples)
    points = means[cluster] + noise[cluster] * rng.standard_normal((n_samples, n_dims))
    return points.astype(np.float32)


def uniform(n_samples=700, n_dims=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, n_dims)).astype(np.float32)


def duplicated(n_samples=700, n_dims=6, seed=0):
    """Every row many times over, so that most radii are 0."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((40, n_dims)).astype(np.float32)[rng.integers(40, size=n_samples)]


def tied(n_samples=700, n_dims=7, seed=0):
    """Signed unit vectors and their sums: a handful of distinct distances, all tied."""
    rng = np.random.default_rng(seed)
    points = rng.integers(-1, 2, size=(n_samples, n_dims)).astype(np.float32)
    points[~points.any(axis=1), 0] = 1
    return points


def nearly_equal(n_samples=700, n_dims=16, seed=0):
    """Two tight bundles: distances below what float32 products can tell apart."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((2, n_dims))[rng.integers(2, size=n_samples)]
    return points + 1e-6 * rng.standard_normal((n_samples, n_dims))


def one_dimension(n_samples=700, seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, 1))


DATA = (clustered, uniform, duplicated, tied, nearly_equal, one_dimension)
