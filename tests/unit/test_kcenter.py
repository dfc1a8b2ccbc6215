"""k-center against a ten-line float64 brute force, the field's known bugs, and its own promises."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kcenter_data import DATA, brute_force, clustered, duplicated, nearly_equal, tied, uniform
from zeroshot_al.base.errors import InputError
from zeroshot_al.kcenter import distances as distances_module
from zeroshot_al.kcenter import filter as filter_module
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.kcenter import search as search_module
from zeroshot_al.kcenter.input import canonical_rows

PRECISIONS = ("float32", "bf16")
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEVICES = ("cpu", pytest.param("cuda", marks=(pytest.mark.gpu, NO_GPU)))


def set_tile(monkeypatch, size):
    """A small tile, so that a few hundred points take several."""
    monkeypatch.setattr(filter_module, "TILE", size)
    monkeypatch.setattr(distances_module, "TILE", size)


def assert_exact(embeddings, n_select, **options):
    """The engine's order and radius equal the brute force's to the last bit."""
    result = kcenter_order(embeddings, n_select, **options)
    initial = options.get("initial_indices", ())
    start = () if len(initial) else result.order[: options.get("n_initial", 1)]
    order, radius = brute_force(embeddings, n_select, start, initial)
    np.testing.assert_array_equal(result.order, order)
    np.testing.assert_array_equal(result.radius, radius)
    return result


@pytest.fixture(autouse=True)
def one_thread():
    """Handing tiny tensors to threads costs far more than it gains, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[(512, 4, 700), (8, 2, 256)], ids=["one block", "nested pools"])
def n(request, monkeypatch):
    """How many points: more than a block of the real size, or five levels deep in small ones."""
    block, fan_out, n_samples = request.param
    monkeypatch.setattr(search_module, "BLOCK", block)
    monkeypatch.setattr(search_module, "FAN_OUT", fan_out)
    if block < 512:
        set_tile(monkeypatch, 32)
    return n_samples


class TestExact:
    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("data", DATA)
    def test_random_start(self, data, precision, device, n):
        assert_exact(data(n), n // 2, seed=3, precision=precision, device=device)

    @pytest.mark.parametrize("precision", PRECISIONS)
    @pytest.mark.parametrize("data", DATA)
    def test_initial_indices(self, data, precision, n):
        initial = [5, n - 1, 17, 0]
        result = assert_exact(data(n), n // 2, initial_indices=initial, precision=precision)
        assert not np.isin(initial, result.order).any()

    @pytest.mark.parametrize("initial", [[], [1, 2, 3]])
    @pytest.mark.parametrize("data", DATA)
    def test_all_points(self, data, initial, n):
        result = assert_exact(data(n), n - len(initial), initial_indices=initial)
        assert sorted([*initial, *result.order]) == list(range(n))

    @pytest.mark.parametrize(
        ("data", "n_initial"), [(clustered, 2), (clustered, 70), (clustered, 128), (duplicated, 99)]
    )
    def test_several_starts(self, data, n_initial, n):
        assert_exact(data(n), n // 2, n_initial=n_initial, seed=1)

    @pytest.mark.parametrize("n_samples", [1, 2, 511, 512, 513])
    def test_around_the_block_size(self, n_samples):
        assert_exact(uniform(n_samples), n_samples)

    def test_several_tiles(self):
        assert_exact(clustered(5000, 32), 2600, seed=2, precision="bf16")

    @settings(max_examples=60, deadline=None)
    @given(
        points=hnp.arrays(
            np.float32,
            st.tuples(st.integers(1, 60), st.integers(1, 4)),
            elements=st.sampled_from([-2.0, -1.0, -0.5, 0.5, 1.0, 1.5]),
        ),
        data=st.data(),
    )
    def test_any_small_input(self, points, data):
        n_select = data.draw(st.integers(1, len(points)))
        options = {
            "seed": data.draw(st.integers(0, 5)),
            "n_initial": data.draw(st.integers(1, n_select)),
            "precision": data.draw(st.sampled_from(PRECISIONS)),
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search_module, "BLOCK", 4)
            patch.setattr(search_module, "FAN_OUT", 2)
            set_tile(patch, 8)
            result = assert_exact(points, n_select, **options)
            shorter = data.draw(st.integers(options["n_initial"], n_select))
            prefix = kcenter_order(points, shorter, **options)
            np.testing.assert_array_equal(prefix.order, result.order[:shorter])


class TestProperties:
    def test_prefix(self, n):
        complete = kcenter_order(clustered(n), n // 2, seed=5)
        for n_select in (1, 2, 17, n // 2 - 1):
            part = kcenter_order(clustered(n), n_select, seed=5)
            np.testing.assert_array_equal(part.order, complete.order[:n_select])
            np.testing.assert_array_equal(part.radius, complete.radius[:n_select])

    @pytest.mark.parametrize("n_initial", [1, 30])
    def test_radius_does_not_increase_after_the_starts(self, n_initial):
        radius = kcenter_order(clustered(), 600, n_initial=n_initial).radius
        assert radius[0] == np.inf and np.isfinite(radius[1:]).all()
        assert (np.diff(radius[n_initial:]) <= 0).all()

    def test_same_on_any_number_of_threads(self):
        orders = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)  # the fixture above restores it
            orders.append(kcenter_order(clustered(3000, 64), 1500).order)
        np.testing.assert_array_equal(*orders)

    def test_dtypes_and_memory_maps(self, tmp_path):
        points = clustered()
        np.save(tmp_path / "points.npy", points)
        expected = kcenter_order(points, 100)
        assert expected.order.dtype == np.int64 and expected.radius.dtype == np.float64
        mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
        for same in (points.astype(np.float64), np.asfortranarray(points), mapped):
            np.testing.assert_array_equal(kcenter_order(same, 100).order, expected.order)
        np.testing.assert_array_equal(points, clustered())  # the input is left alone

    def test_the_length_of_a_row_does_not_count(self):
        points = clustered()
        scaled = points.astype(np.float64) * 2.0 ** np.arange(-350, 350)[:, None]
        np.testing.assert_array_equal(
            kcenter_order(scaled, 90).order, kcenter_order(points, 90).order
        )

    def test_settings_of_the_caller_change_nothing(self):
        expected = kcenter_order(nearly_equal(), 300).order
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")  # bfloat16 products where the CPU has them
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                order = kcenter_order(nearly_equal(), 300).order
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision(before)
        np.testing.assert_array_equal(order, expected)


class TestKnownBugs:
    """What public implementations get wrong, one test each."""

    def test_start_point_missing_or_not_selected(self):
        result = kcenter_order(clustered(), 10, n_initial=3, seed=7)
        expected = np.random.default_rng(7).choice(700, size=3, replace=False)
        np.testing.assert_array_equal(result.order[:3], expected)

    def test_seed_ignored(self):
        starts = {int(kcenter_order(clustered(), 2, seed=seed).order[0]) for seed in range(20)}
        assert len(starts) > 10
        np.testing.assert_array_equal(
            kcenter_order(clustered(), 50, seed=9).order,
            kcenter_order(clustered(), 50, seed=9).order,
        )

    @pytest.mark.parametrize("initial_indices", [None, [], np.array([], dtype=np.int64)])
    def test_first_batch_random(self, initial_indices):
        """Nothing labelled yet: one start point is random and all the others are greedy."""
        result = kcenter_order(clustered(), 50, initial_indices=initial_indices)
        order, _ = brute_force(clustered(), 50, result.order[:1])
        np.testing.assert_array_equal(result.order, order)

    def test_projection(self):
        """No random projection: two points that differ in one of 600 dimensions stay apart."""
        points = np.zeros((602, 600))
        points[np.arange(600), np.arange(600)] = 1
        points[600:, 0] = 1
        points[601, 599] = 1e-3
        assert_exact(points, 602, initial_indices=[], seed=1)
        last = kcenter_order(points, 601, initial_indices=[0])
        assert last.order[-1] == 600 and last.radius[-1] == 0
        assert last.order[-2] == 601 and last.radius[-2] == pytest.approx(1e-3, rel=1e-3)

    def test_distance_matrix(self, monkeypatch):
        """No n x n or budget x n matrix: no tensor above a tile or the data itself."""
        sizes = []
        products = filter_module.Filter.products
        squared_distances = distances_module.squared_distances
        set_tile(monkeypatch, 128)

        def recorded(function):
            return lambda *args: sizes.append(function(*args).numel()) or function(*args)

        monkeypatch.setattr(filter_module.Filter, "products", recorded(products))
        for module in (distances_module, search_module):
            monkeypatch.setattr(module, "squared_distances", recorded(squared_distances))
        kcenter_order(clustered(3000), 2000, n_initial=600)
        assert max(sizes) <= search_module.BLOCK**2


class TestErrors:
    @pytest.mark.parametrize(
        ("value", "message"),
        [(np.nan, "holds NaN or infinity"), (-np.inf, "holds NaN or inf"), (0, "is all zeros")],
    )
    def test_bad_row(self, value, message):
        points = clustered(3000)
        points[2917, 3 if value else slice(None)] = value
        with pytest.raises(InputError, match=f"row 2917 of the embeddings {message}"):
            kcenter_order(points, 2)

    @pytest.mark.parametrize(
        ("points", "message"),
        [
            (np.ones(5), r"\(5,\)"),
            (np.ones((2, 2, 2)), r"\(2, 2, 2\)"),
            ([[1.0, 2.0]], "NumPy array"),
            (np.ones((3, 2), dtype=np.int64), "int64"),
            (np.ones((3, 2), dtype=complex), "complex128"),
            (np.empty((0, 4)), "empty"),
            (np.empty((4, 0)), "empty"),
        ],
    )
    def test_rank_and_dtype(self, points, message):
        with pytest.raises(InputError, match=message):
            kcenter_order(points, 1)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"n_select": 701}, "n_select 701 exceeds the 700"),
            ({"n_select": 698, "initial_indices": [0, 1, 2]}, "n_select 698 exceeds the 697"),
            ({"n_select": 0}, "n_select 0 must be at least 1"),
            ({"n_select": 2.5}, "n_select 2.5 must be an integer"),
            ({"n_initial": 0}, "n_initial 0 must be at least 1"),
            ({"n_initial": 11}, "n_initial 11 exceeds n_select 10"),
            ({"seed": -1}, "seed -1 must be at least 0"),
            ({"initial_indices": [3, 700]}, "holds 700, outside the pool of 700"),
            ({"initial_indices": [3, -1]}, "holds -1, outside"),
            ({"initial_indices": [3, 5, 3]}, "holds 3 twice"),
            ({"initial_indices": [0.5]}, "list of integers"),
            ({"initial_indices": [[1, 2]]}, "list of integers"),
            ({"precision": "float16"}, "precision 'float16' is unknown"),
            ({"device": "abacus"}, "device 'abacus' does not work here"),
            ({"device": "meta"}, "device 'meta' is not supported"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(InputError, match=message):
            kcenter_order(clustered(), **{"n_select": 10, **options})


class TestBounds:
    """The two facts that exactness rests on, each against exact rational arithmetic."""

    def test_canonical_rows(self):
        points = np.concatenate([clustered(20, 7), tied(20), 1e-30 * uniform(20, 7)])
        rows = canonical_rows(points)
        assert rows.dtype == np.float32
        for point, row in zip(points, rows, strict=True):
            square = sum(Fraction(float(x)) ** 2 for x in point)
            for x, got in zip(point, row, strict=True):
                scaled = Fraction(float(got)) * 2**24
                assert scaled.denominator == 1  # on the grid
                # |got - x / norm| <= 2^-25, without a square root: compare the squares
                step = Fraction(1, 2)
                low, high = abs(scaled) - step, abs(scaled) + step
                target = Fraction(float(x)) ** 2 / square * 2**48
                assert max(low, 0) ** 2 <= target * (1 + Fraction(1, 2**40))
                assert target <= high**2 * (1 + Fraction(1, 2**40))
                assert scaled * Fraction(float(x)) >= 0

    def test_float64_distances_are_exact(self):
        points = canonical_rows(clustered(40, 33))
        distances = distances_module.Distances(torch.from_numpy(points), 40, False)
        everyone = torch.arange(40)
        matrix = distances.exact(everyone, everyone)
        pairs = distances.exact_pairs(everyone, everyone.flip(0))
        whole = [[Fraction(float(x)) for x in row] for row in points]
        for i in range(40):
            for j in range(40):
                exact = sum((x - y) ** 2 for x, y in zip(whole[i], whole[j], strict=True))
                assert Fraction(matrix[i, j].item()) == exact
            assert pairs[i] == matrix[i, 39 - i]

    @pytest.mark.parametrize("device", DEVICES)
    @pytest.mark.parametrize("bfloat16", [False, True])
    @pytest.mark.parametrize("n_dims", [1, 2, 31, 512, 3000])
    @pytest.mark.parametrize("n_own", [200, 100])
    def test_filter_error(self, n_dims, bfloat16, device, n_own):
        """No pair is farther than `farthest` says, and none at its distance is below the floor.

        Equal signs and neighbouring rows make the rounding errors add up. Points that come later
        lie elsewhere, far from the mean of the first.
        """
        base = np.abs(uniform(1, n_dims, seed=1)) + 0.5
        points = np.concatenate([base + 0.01 * uniform(100, n_dims), uniform(100, n_dims)])
        rows = torch.from_numpy(canonical_rows(points)).to(device)
        everyone = torch.arange(200, device=device)
        with distances_module.reference_arithmetic(rows.device):
            free = torch.cat([rows[:n_own], torch.full_like(rows[n_own:], torch.nan)])
            distances = distances_module.Distances(free, n_own, bfloat16)
            later = [distances.append(part) for part in rows[n_own:].split(60)]
            assert torch.cat(later).tolist() == list(range(n_own, 200))
            tested = distances.filters[0]
            exact = distances.exact(everyone, everyone).sqrt()
            products = tested.products(everyone, everyone)
            reach = tested.moved[:, None] + tested.moved[None, :]
            assert (products >= tested.floor(exact, reach)).all()
            assert (tested.farthest(products, reach) >= exact).all()
        assert tested.error < (2e-3 if bfloat16 else 2e-4)
        assert tested.moved.max() < (2.0**-7 if bfloat16 else 1e-30)

    def test_a_filter_that_passes_too_much_falls_back_to_finer_ones(self, monkeypatch):
        """bfloat16 cannot tell the points of a tight bundle apart, and float32 can."""
        rng = np.random.default_rng(0)
        points = np.ones(16) + 1e-3 * rng.standard_normal((900, 16))
        used = []
        products = filter_module.Filter.products
        monkeypatch.setattr(
            filter_module.Filter,
            "products",
            lambda self, *args: used.append(self.vectors.dtype) or products(self, *args),
        )
        monkeypatch.setattr(search_module, "BLOCK", 64)
        assert_exact(points, 450, precision="bf16")
        assert {torch.bfloat16, torch.float32} <= set(used)
