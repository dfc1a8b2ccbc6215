"""One search over two states: `dense` for the first picks, `sparse` for all others."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from zeroshot_al.coverage.dense import Dense
from zeroshot_al.kcenter.distances import reference_arithmetic

PAIRS_PER_POINT = 128  # pairs kept in memory: 16 bytes each
CHECK_EVERY = 32  # picks, between two estimates of how many pairs are left
REPRESENTATIVE, FAR = "representative", "far"


class Search:
    """Picks by either rule, each of which knows the picks of the other.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_dims), float32
        As `rows.centred_rows`.
    targets : ndarray of shape (n_targets,), int64
        The points that are to be covered, ascending.
    weights : ndarray of shape (n_targets,), float64
        What each target counts, in [0, 1].
    device : torch.device
        Where products are computed.
    """

    def __init__(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, device: torch.device
    ):
        self.device = device
        self.n_picks = 0
        self.n_pairs = PAIRS_PER_POINT * len(rows)
        self.state = Dense(
            *(torch.from_numpy(array).to(device) for array in (rows, targets, weights))
        )

    def run(self, initial: Sequence[int], reasons: Iterator[str], n_select: int) -> list[int]:
        """Pick `n_select` points after the initial ones, each for the next reason."""
        order = []
        with reference_arithmetic(self.device):
            self._shrink()
            for index in initial:
                self._add(int(index))
            for reason in islice(reasons, n_select):
                far = reason == FAR
                order.append(self.state.farthest() if far else self.state.representative())
                self._add(order[-1])
        return order

    def _add(self, index: int) -> None:
        """Select a point; narrow the kernel when the picks have doubled."""
        self.state.add(index)
        self.n_picks += 1
        if self.n_picks > 1 and self.n_picks & (self.n_picks - 1) == 0:
            nearest = torch.as_tensor(self.state.nearest).cpu().double().numpy()
            median = float(np.median(np.sqrt(nearest)))
            if 0 < median < self.state.sigma:
                self.state.rescale(median)
        if self.n_picks % CHECK_EVERY == 0:
            self._shrink()

    def _shrink(self) -> None:
        """Go on with pairs alone once they are few enough to keep."""
        if isinstance(self.state, Dense) and self.state.n_pairs() <= self.n_pairs:
            self.state = self.state.sparse()
