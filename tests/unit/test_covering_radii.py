import numpy as np
import pytest

from zeroshot_al.base.errors import InputError
from zeroshot_al.gallery.covering_radii import (
    covering_radii,
    find_knee,
    nearest_earlier,
    outlier_scores,
    sample_indices,
)
from zeroshot_al.gallery.curve import measure_curve
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.kcenter.input import canonical_rows


def make_rows(n_samples=300, n_dims=6, seed=0):
    """Rows in a few clumps, with some far points."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(5, n_dims))
    rows = centres[draw.integers(0, 5, n_samples)] + 0.2 * draw.normal(size=(n_samples, n_dims))
    rows[:: n_samples // 7] = 3 * draw.normal(size=rows[:: n_samples // 7].shape)
    return canonical_rows(rows)


def distances(rows):
    """All distances in float64, one difference at a time."""
    rows = rows.astype(np.float64)
    return np.sqrt(((rows[:, None] - rows[None]) ** 2).sum(axis=2))


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("n_given", [0, 1, 40])
def test_nearest_earlier_is_that_of_a_plain_loop(monkeypatch, block, n_given):
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.BLOCK", block)
    rows = make_rows()
    between = distances(rows)
    sequence = np.random.default_rng(1).permutation(len(rows))[:150]
    found = nearest_earlier(rows, sequence, n_given)
    assert len(found) == 150 - n_given
    for place, index in enumerate(found.tolist(), start=n_given):
        earlier = sequence[:place]
        if place == 0:
            assert index == -1
        else:
            assert index == earlier[between[sequence[place], earlier].argmin()]


def test_nearest_earlier_is_at_the_radius_of_the_order():
    rows = make_rows()
    order = kcenter_order(rows, 100, n_initial=1, seed=0)
    nearest = nearest_earlier(rows, order.order)
    between = distances(rows)[np.asarray(order.order)[1:], nearest[1:]]
    np.testing.assert_allclose(between, order.radius[1:], atol=1e-6)


@pytest.mark.parametrize("block", [5, 1024])
@pytest.mark.parametrize("given", [[], [3, 50, 200]])
def test_covering_radii_are_those_of_all_distances(monkeypatch, block, given):
    # Small numbers, so that points are ruled out by few witnesses and long before the end.
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.BLOCK", block)
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.FIRST_CENTRES", 4)
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.WITNESSES", 3)
    rows = make_rows()
    between = distances(rows)
    for seed in range(5):
        free = np.setdiff1d(np.arange(len(rows)), given)
        sequence = np.random.default_rng(seed).permutation(free)
        counts = [1, 2, 3, 10, 11, 60, 150, len(sequence)]
        expected = [between[:, [*given, *sequence[:count]]].min(axis=1).max() for count in counts]
        found = covering_radii(rows, sequence, counts, given)
        np.testing.assert_allclose(found, expected, atol=2e-3)  # 0 is known to sqrt(float32's eps)
        np.testing.assert_allclose(found[:-1], expected[:-1], atol=1e-5)


@pytest.mark.parametrize("given", [[], [3, 50]])
def test_the_curve_of_a_k_center_order_is_its_radii(given):
    rows = make_rows()
    found = kcenter_order(rows, 121, initial_indices=given)
    curve = measure_curve(rows, found.order[:120], given, n_random=2, seed=0)
    assert (curve.counts[0], curve.counts[-1]) == (1, 120)
    # The pick after b others was the farthest from all of them.
    np.testing.assert_allclose(curve.radii, found.radius[curve.counts], atol=1e-5)
    assert curve.knee in curve.counts


@pytest.mark.parametrize("counts", [[], [0, 3], [3, 3], [5, 4], [1, 300]])
def test_covering_radii_refuses_bad_counts(counts):
    with pytest.raises(InputError, match="must increase from 1 to at most the 250 centres"):
        covering_radii(make_rows(), range(250), counts)


@pytest.mark.parametrize("block", [7, 1024])
def test_outlier_scores_are_the_mean_of_the_nearest_distances(monkeypatch, block):
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.BLOCK", block)
    rows = make_rows()
    rows[10] = rows[11]  # a copy is a neighbour at distance 0; the point itself is none
    indices = np.random.default_rng(2).permutation(len(rows))[:90]
    between = distances(rows)
    np.fill_diagonal(between, np.inf)
    expected = np.sort(between, axis=1)[indices, :4].mean(axis=1)
    np.testing.assert_allclose(outlier_scores(rows, indices, 4, 0), expected, atol=3e-4)


def test_a_large_pool_s_outliers_are_found_in_a_sample(monkeypatch):
    rows = make_rows(n_samples=2000)
    exact = outlier_scores(rows, range(2000), 5, 0)
    monkeypatch.setattr("zeroshot_al.gallery.covering_radii.REFERENCE_POINTS", 500)
    sampled = outlier_scores(rows, range(2000), 5, 0)
    assert (sampled >= exact - 1e-6).all()
    assert (sampled > exact + 1e-3).any()
    top = set(exact.argsort()[-20:]) & set(sampled.argsort()[-20:])
    assert len(top) >= 10


@pytest.mark.parametrize("n_neighbours", [0, 300])
def test_outlier_scores_refuses_more_neighbours_than_there_are(n_neighbours):
    with pytest.raises(InputError, match=f"n_neighbours {n_neighbours} must be from 1 to 299"):
        outlier_scores(make_rows(), [0], n_neighbours, 0)


def test_sample_indices_are_distinct_and_repeatable():
    drawn = sample_indices(1000, 100, 7)
    assert len(set(drawn.tolist())) == 100
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_array_equal(drawn, sample_indices(1000, 100, 7))
    assert (drawn != sample_indices(1000, 100, 8)).any()
    np.testing.assert_array_equal(sample_indices(5, 9, 0), np.arange(5))


def test_the_knee_of_a_hyperbola_is_where_kneedle_puts_it():
    # y = 1 / x is farthest below the chord of [1, n] where its slope is the chord's: sqrt(n).
    x = np.arange(1, 401, dtype=float)
    assert x[find_knee(x, 1 / x)] == 20
    # Two straight lines meet at 10.
    y = np.where(x < 10, 100 - 9 * x, 10.0 - 0.01 * (x - 10))
    assert x[find_knee(x, y)] == 10


@pytest.mark.parametrize(
    "y", [[1.0, 1.0, 1.0], [3.0, 2.0, 1.0], [1.0, 0.9, 0.0], [1.0, 0.5], [2.0, 3.0, 4.0]]
)
def test_no_knee_in_a_curve_that_does_not_flatten(y):
    assert find_knee(np.arange(len(y), dtype=float), np.array(y)) is None
