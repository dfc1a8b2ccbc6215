"""The recommended order: picks that stand for many, with a hedge of far ones.

Coverage alone passes rare classes over, and farthest-first alone picks outliers: which of the two
loses to random depends on the pool, and nobody knows which kind theirs is. The cycle of two
representative picks and one far pick had the best worst case of those tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

from zeroshot_al.base.errors import InputError
from zeroshot_al.coverage.order import start_search
from zeroshot_al.coverage.search import FAR, REPRESENTATIVE

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
    reasons: Sequence[str] = CYCLE,
) -> ZeroShotOrder:
    """Order a pool for labelling: representative points, and every third the farthest.

    Both rules see the same rows, centred and L2-normalised, and know all picks of either.

    Parameters
    ----------
    embeddings, n_select, weights, n_targets, seed, device
        As for `coverage_order`. Far picks are the farthest of the targets, and have no weights.
    initial_indices : array-like of shape (n_centres,), int, optional
        As for `coverage_order`. The cycle goes on behind them.
    reasons : sequence of {"representative", "far"}
        The cycle of reasons.

    Returns
    -------
    ZeroShotOrder
        `order` and `reasons` of length `n_select`.

    Raises
    ------
    InputError
        As `coverage_order`, and for an unknown reason.

    Examples
    --------
    >>> points = np.array([[1.0, 0.0], [1.0, 0.1], [0.9, 0.1], [0.0, 1.0], [-1.0, 0.0]])
    >>> zero_shot_order(points, 3).reasons
    ('representative', 'representative', 'far')
    """
    unknown = [reason for reason in reasons if reason not in CYCLE]
    if unknown or not len(reasons):
        found = f"holds {unknown[0]!r}" if unknown else "is empty"
        raise InputError(f"reasons {found}; give a cycle of {REPRESENTATIVE!r} and {FAR!r}")
    search, initial = start_search(
        embeddings, n_select, initial_indices, weights, n_targets, seed, device
    )
    made = tuple(islice(cycle(reasons), len(initial), len(initial) + n_select))
    order = search.run(initial, iter(made), n_select)
    return ZeroShotOrder(np.array(order, dtype=np.int64), made)
