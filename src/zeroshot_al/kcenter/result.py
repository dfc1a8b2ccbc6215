"""What greedy k-center returns."""

from dataclasses import dataclass

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
    """

    order: np.ndarray
    radius: np.ndarray
