"""What greedy k-center returns, and can go on from."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class KCenterOrder:
    """The picks in order, and how far each was from everything before it.

    Attributes
    ----------
    order : ndarray of shape (n_select,), int64
        Indices into the pool; the first k are the selection for a budget of k.
    radius : ndarray of shape (n_select,), float64
        L2 distance of each pick to its nearest earlier centre, in [0, 2]; infinite for the very
        first centre. From the first pick that was not a start point on it never increases, and it
        is then the covering radius of all the centres before the pick.
    bounds : ndarray of shape (n_samples,), float64, or None
        State to resume from: squared distance of each point to the nearest of the first
        `n_compared` centres, -1 for the centres themselves.
    n_compared : ndarray of shape (n_samples,), int64, or None
        How many centres each point has been compared with, initial ones included.
    """

    order: np.ndarray
    radius: np.ndarray
    bounds: np.ndarray | None = field(default=None, repr=False)
    n_compared: np.ndarray | None = field(default=None, repr=False)
