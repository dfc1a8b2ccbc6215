"""Order a pool so that each prefix covers it as well as greedy choice can.

Kernel coverage (MaxHerding; facility location with a Gaussian kernel): each pick raises

    sum_j w_j max_(i in S) exp(-|x_i - x_j|^2 / sigma^2)

most. sigma is 1 at first; whenever the number of picks reaches a power of two it becomes the
median distance of a target to its nearest pick, if that is smaller: the first picks stand for large
groups, later ones for what is left between them.

References
----------
W. Bae, J. Noh, D. J. Sutherland, "Generalized Coverage for More Robust Low-Budget Active Learning",
ECCV 2024. G. Nemhauser, L. Wolsey and M. Fisher, "An analysis of approximations for maximizing
submodular set functions", Mathematical Programming 14 (1978): greedy choice reaches 1 - 1/e of the
best coverage. M. Minoux, "Accelerated greedy algorithms for maximizing submodular set functions",
1978: lazy evaluation.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.coverage.rows import centred_rows, check_weights
from zeroshot_al.coverage.search import REPRESENTATIVE, Search, most_pairs
from zeroshot_al.kcenter.input import check_counts, check_device, check_embeddings, check_indices
from zeroshot_al.process.memory import check_memory


@dataclass(frozen=True, eq=False)
class CoverageOrder:
    """The picks in order.

    Attributes
    ----------
    order : ndarray of shape (n_select,), int64
        Indices into the pool; the first k are the selection for a budget of k.
    """

    order: np.ndarray


def coverage_order(
    embeddings: np.ndarray,
    n_select: int,
    *,
    initial_indices: Sequence[int] | np.ndarray | None = None,
    weights: np.ndarray | None = None,
    n_targets: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> CoverageOrder:
    """Order points so that each raises the kernel coverage of the pool most.

    The order is nested, deterministic on one machine, and that of exact greedy choice up to
    differences of gains that float64 cannot tell; ties go to the smallest index.

    Parameters
    ----------
    embeddings : ndarray or memmap of shape (n_samples, n_dims), floating
        Features. They are centred, then L2-normalised. Not modified.
    n_select : int
        Number of points to order.
    initial_indices : array-like of shape (n_centres,), int, optional
        Points that are picks already (labelled ones), in the order in which they were picked. They
        are not in the order. Given the first k of an order, the rest of it follows.
    weights : array-like of shape (n_samples,), optional
        What the coverage of each point counts, at least 0; all the same by default.
    n_targets : int, optional
        Cover a random sample of so many points in place of all, for large pools. All points can be
        picked all the same.
    seed : int
        Seed of that sample.
    device : str or torch.device
        "cpu", "cuda" or "cuda:k"; "auto" is a GPU where there is one.

    Returns
    -------
    CoverageOrder
        `order` of length `n_select`.

    Raises
    ------
    InputError
        For embeddings that are not a finite, floating matrix, or a row that equals the mean of all;
        for a count, index, weight, seed or device out of range.

    References
    ----------
    Bae et al. (2024), Algorithm 1.

    Examples
    --------
    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.9, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    >>> coverage_order(points, 2).order
    array([0, 3])
    """
    search, initial = start_search(
        embeddings, n_select, initial_indices, weights, n_targets, seed, device
    )
    order = search.run(initial, repeat(REPRESENTATIVE), n_select)
    return CoverageOrder(np.array(order, dtype=np.int64))


def start_search(
    embeddings: np.ndarray,
    n_select: int,
    initial_indices: Sequence[int] | np.ndarray | None,
    weights: np.ndarray | None,
    n_targets: int | None,
    seed: int,
    device: str | torch.device,
) -> tuple[Search, np.ndarray]:
    """Check what `coverage_order` was given; return a search and the initial indices."""
    check_embeddings(embeddings)
    n_samples, n_dims = embeddings.shape
    where = check_device(device)
    initial = check_indices("initial_indices", initial_indices, n_samples)
    check_counts(n_select, n_samples - len(initial), 1, seed)
    counts = check_weights(weights, n_samples)
    targets = np.arange(n_samples)
    if n_targets is not None:
        if not 1 <= operator.index(n_targets) <= n_samples:
            raise InputError(
                f"n_targets {n_targets} must be from 1 to the {n_samples} points of the pool"
            )
        rng = np.random.default_rng(seed)
        targets = np.sort(rng.choice(n_samples, size=n_targets, replace=False))
    if not counts[targets].any():
        raise InputError(
            f"weights are 0 for all of the {n_targets} targets; raise n_targets or the weights"
        )
    check_fits(n_samples, n_dims, len(targets), where)
    rows = centred_rows(embeddings)
    return Search(rows, targets, counts[targets], where), initial


def check_fits(n_samples: int, n_dims: int, n_targets: int, device: torch.device) -> None:
    """Check that there is memory for the rows, the targets' copy of them, and the pairs.

    Raises
    ------
    InputError
        With both figures.
    """
    what = f"coverage of {n_targets:,} by embeddings of {n_samples:,} x {n_dims:,}"
    remedy = "take fewer images, an encoder of fewer features or more memory"
    rows = 4 * n_dims * (n_samples + (n_targets if n_targets < n_samples else 0))
    pairs = 16 * most_pairs(n_samples, n_targets)  # 8 bytes each, twice while some are dropped
    if device.type == "cuda":
        check_memory(4 * n_dims * n_samples + pairs, what, remedy)
        check_memory(rows, what, remedy, device)
    else:
        check_memory(rows + pairs, what, remedy)
