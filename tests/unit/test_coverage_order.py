import math
from itertools import cycle

import numpy as np
import pytest
import torch

import zeroshot_al
from kcenter_data import clustered, duplicated, nearly_equal, tied, uniform
from zeroshot_al.base.errors import InputError
from zeroshot_al.coverage import coverage_order, products, search, zero_shot_order
from zeroshot_al.coverage.rows import centred_rows

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=(pytest.mark.gpu, NO_GPU)))
DATA = (clustered, uniform, duplicated, tied, nearly_equal)
C, F = "representative", "far"


class BruteForce:
    """Greedy choice from the definition: all distances, all gains, one pick."""

    def __init__(self, embeddings, weights=None, initial=(), targets=slice(None)):
        rows = centred_rows(embeddings).astype(np.float64)
        self.squared = np.array([((rows - row) ** 2).sum(axis=1) for row in rows])
        self.weights = np.ones(len(rows)) if weights is None else weights
        self.targets = targets
        self.picks, self.sigma = [], 1.0
        for index in initial:
            self.add(index)

    def nearest(self):
        return self.squared[self.picks].min(axis=0, initial=math.inf)

    def gains(self):
        """By how much each point would raise the coverage of the targets."""
        kernel = np.exp(-self.squared / self.sigma**2)
        covered = kernel[self.picks].max(axis=0, initial=0)
        gains = np.maximum(kernel - covered, 0) * self.weights
        return gains[:, self.targets].sum(axis=1)

    def add(self, index):
        self.picks.append(int(index))
        if len(self.picks) in (2, 4, 8, 16, 32, 64, 128, 256):
            median = np.median(np.sqrt(self.nearest()[self.targets]))
            if median > 0:
                self.sigma = min(self.sigma, median)

    def check(self, order, reasons=(C,)):
        """Every pick is the best one but for rounding, and the first of those equal to it."""
        for index, reason in zip(order, cycle(reasons), strict=False):
            merit = self.gains() if reason == C else self.nearest()
            merit[self.picks] = -1
            rounding = 1e-9 * merit.max() + 1e-12 * len(merit)
            assert merit[index] >= merit.max() - rounding, len(self.picks)
            assert index == ((self.squared[index] == 0) & (merit >= 0)).argmax()
            self.add(index)


@pytest.fixture(params=["pairs", "products", "both"])
def state(request, monkeypatch):
    """Pairs from the start on, never, or after some picks; small tiles and first tries."""
    pairs = {"pairs": 10**6, "products": -1, "both": 5000}[request.param]
    monkeypatch.setattr(search, "most_pairs", lambda *sizes: pairs)
    monkeypatch.setattr(search, "CHUNK", 3)
    monkeypatch.setattr(search, "MANY", 50)
    monkeypatch.setattr(products, "TILE", dict.fromkeys(products.TILE, 70))


class TestEqualToBruteForce:
    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("data", DATA)
    def test_data(self, data, device, state):
        points = data(300)
        BruteForce(points).check(coverage_order(points, 100, device=device).order)

    @pytest.mark.parametrize("device", DEVICES)
    def test_all_there_is(self, device, state):
        points = clustered(150)
        order = coverage_order(points, 150, device=device).order
        BruteForce(points).check(order)
        assert sorted(order) == list(range(150))

    @pytest.mark.parametrize("data", DATA)
    def test_weights(self, data, state):
        points = data(200)
        weights = np.random.default_rng(0).gamma(0.3, size=200)
        weights[::7] = 0
        result = coverage_order(points, 60, weights=weights)
        BruteForce(points, weights).check(result.order)
        assert (coverage_order(points, 60, weights=1000 * weights).order == result.order).all()

    @pytest.mark.parametrize("data", DATA)
    def test_initial_indices(self, data, state):
        points = data(200)
        initial = np.random.default_rng(1).choice(200, 37, replace=False)
        order = coverage_order(points, 60, initial_indices=initial).order
        BruteForce(points, initial=initial).check(order)
        assert not set(order) & set(initial)

    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("data", DATA)
    def test_far_picks(self, data, device, state):
        points = data(300)
        result = zero_shot_order(points, 110, device=device)
        assert result.reasons == tuple([C] * 20 + [C, C, F] * 30)
        BruteForce(points).check(result.order, result.reasons)

    def test_targets(self, state):
        points = clustered(300)
        targets = np.sort(np.random.default_rng(4).choice(300, 90, replace=False))
        order = coverage_order(points, 120, n_targets=90, seed=4).order
        BruteForce(points, targets=targets).check(order)
        assert len(set(order)) == 120
        assert set(order) - set(targets)  # a pick need not be a target


class TestProperties:
    @pytest.mark.parametrize("make", [coverage_order, zero_shot_order])
    def test_prefix_and_continuation(self, make, state):
        points = clustered(400)
        whole = make(points, 120)
        assert (make(points, 50).order == whole.order[:50]).all()
        assert (make(points, 120).order == whole.order).all()
        rest = make(points, 70, initial_indices=whole.order[:50])
        assert (rest.order == whole.order[50:]).all()

    def test_states_agree(self, monkeypatch):
        points = clustered(900)
        orders = []
        for pairs in (10**6, 27_000, -1):
            monkeypatch.setattr(search, "most_pairs", lambda *sizes, pairs=pairs: pairs)
            orders.append(coverage_order(points, 300).order.tolist())
        assert orders[0] == orders[1] == orders[2]

    def test_a_mean_and_a_scale_do_not_count(self):
        points = clustered(200).astype(np.float64)
        moved = 8 * points + np.arange(24)
        assert (coverage_order(points, 50).order == coverage_order(moved, 50).order).all()

    def test_exported_at_the_top(self):
        assert zeroshot_al.zero_shot_order is zero_shot_order
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            zeroshot_al.nonsense  # noqa: B018

    def test_the_embeddings_are_not_changed(self):
        points = clustered(100)
        copy = points.copy()
        coverage_order(points, 10)
        assert (points == copy).all()


def with_row(row, value):
    points = clustered(40)
    points[row] = value
    return points


class TestErrors:
    @pytest.mark.parametrize(
        ("message", "arguments"),
        [
            ("n_select 41 exceeds the 40 points", {"n_select": 41}),
            ("n_select 0 must be at least 1", {"n_select": 0}),
            ("row 7 of the embeddings holds NaN", {"embeddings": with_row(7, np.nan)}),
            ("row 3 of the embeddings holds NaN or inf", {"embeddings": with_row(3, np.inf)}),
            ("row 0 of the embeddings equals the mean", {"embeddings": np.full((9, 4), 0.1)}),
            ("must be a NumPy array", {"embeddings": [[1.0, 2.0]]}),
            ("must be floating", {"embeddings": np.eye(40, dtype=int)}),
            ("holds 40, outside the pool", {"initial_indices": [3, 40]}),
            ("holds 3 twice", {"initial_indices": [3, 3]}),
            ("exceeds the 38 points", {"initial_indices": [3, 4], "n_select": 39}),
            ("weights holds -1.0; give", {"weights": np.r_[-1.0, np.ones(39)]}),
            ("weights holds nan; give", {"weights": np.r_[np.nan, np.ones(39)]}),
            ("must be 40 numbers", {"weights": np.ones(39)}),
            ("weights are all 0", {"weights": np.zeros(40)}),
            ("weights are 0 for all of the 1 targets", {"weights": np.eye(40)[9], "n_targets": 1}),
            ("n_targets 41 must be from 1 to the 40", {"n_targets": 41}),
            ("seed -1 must be at least 0", {"seed": -1}),
            ("device 'tpu' does not work", {"device": "tpu"}),
        ],
    )
    @pytest.mark.parametrize("make", [coverage_order, zero_shot_order])
    def test_message(self, make, message, arguments):
        with pytest.raises(InputError, match=message):
            make(**{"embeddings": clustered(40), "n_select": 5} | arguments)

    def test_memory(self, monkeypatch):
        monkeypatch.setattr("zeroshot_al.process.memory.available_memory", lambda: 2**20)
        with pytest.raises(InputError, match="coverage of 5,000 by embeddings of 5,000 x 24 needs"):
            coverage_order(clustered(5000), 5)
