import math
from itertools import cycle

import numpy as np
import pytest
import torch

from kcenter_data import clustered, duplicated, nearly_equal, tied, uniform
from zeroshot_al.coverage import coverage_order, search
from zeroshot_al.coverage.rows import centred_rows

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=(pytest.mark.gpu, NO_GPU)))
DATA = (clustered, uniform, duplicated, tied, nearly_equal)


class BruteForce:
    """Greedy choice from the definition: all distances, all gains, one pick."""

    def __init__(self, embeddings, weights=None, initial=()):
        rows = centred_rows(embeddings).astype(np.float64)
        self.squared = np.array([((rows - row) ** 2).sum(axis=1) for row in rows])
        self.weights = np.ones(len(rows)) if weights is None else weights / np.max(weights)
        self.picks, self.sigma = [], 1.0
        for index in initial:
            self.add(index)

    def nearest(self):
        return self.squared[self.picks].min(axis=0, initial=math.inf)

    def gains(self):
        """Of all points, for the next pick; -1 for the picks."""
        kernel = np.exp(-self.squared / self.sigma**2)
        covered = kernel[self.picks].max(axis=0, initial=0)
        gains = np.maximum(kernel - covered, 0) @ self.weights
        gains[self.picks] = -1
        return gains

    def add(self, index):
        self.picks.append(int(index))
        if math.log2(len(self.picks)) in range(1, 64):
            median = np.median(np.sqrt(self.nearest()))
            if median > 0:
                self.sigma = min(self.sigma, median)

    def check(self, order, reasons=("representative",)):
        """Every pick is the best one, and the first of those that are as good."""
        for index, reason in zip(order, cycle(reasons), strict=False):
            merit = self.gains() if reason == "representative" else self.nearest()
            merit[self.picks] = -1
            equal = 1e-9 * merit.max() + 1e-12 * len(merit)
            assert merit[index] >= merit.max() - equal, (len(self.picks), index)
            twins = (self.squared[index] == 0) & (merit >= 0)
            assert index == twins.argmax()
            self.add(index)


@pytest.fixture(params=["sparse", "dense", "both"])
def state(request, monkeypatch):
    """Pairs from the start on, never, or after some picks; small tiles and working sets."""
    pairs = {"sparse": 10**6, "dense": -1, "both": 20}
    monkeypatch.setattr(search, "PAIRS_PER_POINT", pairs[request.param])
    return request.param


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("data", DATA)
def test_equal_to_brute_force(data, device, state):
    points = data(300)
    result = coverage_order(points, 100, device=device)
    BruteForce(points).check(result.order)
