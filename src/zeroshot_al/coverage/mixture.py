"""The recommended order: picks that stand for many, with a hedge of far ones.

Coverage alone passes rare classes over, and farthest-first alone picks outliers: which of the two
loses to random depends on the pool, and nobody knows which kind theirs is. The first labels gain
most by representative picks; after them the cycle of two representative picks and one far pick had
the best worst case of those tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice, repeat

import numpy as np
import torch

from zeroshot_al.coverage.order import start_search
from zeroshot_al.coverage.search import FAR, REPRESENTATIVE

N_FIRST = 20  # picks before the first far one, those made already among them
CYCLE = (REPRESENTATIVE, REPRESENTATIVE, FAR)


@dataclass(frozen=True, eq=False)
class ZeroShotOrder:
    """The picks in order, and why each was made.

    Attributes
    ----------
    order : ndarray of shape (n_select,), int64
        Indices into the pool; the first k are the selection for a budget of k.
    reasons : tuple of str, of length n_select
        Of each pick: "representative" (it raises the kernel coverage most) or "far" (it is the
        farthest from all picks before it).
    """

    order: np.ndarray
    reasons: tuple[str, ...]


def zero_shot_order(
    embeddings: np.ndarray,
    n_select: int,
    *,
    initial_indices: Sequence[int] | np.ndarray | None = None,
    weights: np.ndarray | None = None,
    n_targets: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> ZeroShotOrder:
    """Order a pool for labelling: 20 representative points, then every third the farthest.

    Both rules see the same rows, centred and L2-normalised, and know all picks of either.

    Parameters
    ----------
    embeddings, n_select, weights, n_targets, seed, device
        As for `coverage_order`. Far picks are the farthest of the targets, and have no weights.
    initial_indices : array-like of shape (n_centres,), int, optional
        As for `coverage_order`. They count among the first 20, and the cycle goes on behind them.

    Returns
    -------
    ZeroShotOrder
        `order` and `reasons` of length `n_select`.

    Raises
    ------
    InputError
        As `coverage_order`.

    Examples
    --------
    >>> points = np.random.default_rng(0).normal(size=(200, 2))
    >>> zero_shot_order(points, 24).reasons[19:]
    ('representative', 'representative', 'representative', 'far', 'representative')
    """
    search, initial = start_search(
        embeddings, n_select, initial_indices, weights, n_targets, seed, device
    )
    reasons = chain(repeat(REPRESENTATIVE, N_FIRST), cycle(CYCLE))
    made = tuple(islice(reasons, len(initial), len(initial) + n_select))
    order = search.run(initial, iter(made), n_select)
    return ZeroShotOrder(np.array(order, dtype=np.int64), made)
