import numpy as np
import pytest

from unit.test_covering_radii import make_rows
from zeroshot_al.gallery import pool_map
from zeroshot_al.gallery.pool_map import count_clusters, map_pool
from zeroshot_al.kcenter.input import canonical_rows


def test_the_map_shows_the_first_picks_and_is_the_same_again(monkeypatch):
    monkeypatch.setattr(pool_map, "N_FIRST", 30)
    rows = make_rows()
    picks = np.random.default_rng(0).permutation(300)[:120]
    found = map_pool(rows, picks, 100, 0)
    assert len(set(found.indices.tolist())) == len(found.indices) == 100
    assert set(picks[:30].tolist()) <= set(found.indices.tolist())
    assert found.places.shape == (100, 2)
    assert found.places.min() == 0
    assert found.places.max() == 1
    again = map_pool(rows, picks, 100, 0)
    np.testing.assert_array_equal(found.places, again.places)


def test_the_map_puts_alike_images_side_by_side():
    draw = np.random.default_rng(0)
    group = np.repeat(np.arange(4), 50)
    rows = canonical_rows(np.eye(4)[group] * 5 + 0.1 * draw.normal(size=(200, 4)))
    places = map_pool(rows, [0], 200, 0).places
    between = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(between, np.inf)
    assert (group[between.argmin(axis=1)] == group).mean() > 0.98


@pytest.mark.parametrize("n_samples", [1, 2, 4, 5, 12])
def test_a_tiny_pool_has_a_map_and_clusters(n_samples):
    rows = make_rows(n_samples=14)[:n_samples]
    found = map_pool(rows, [0], 100, 0)
    assert len(found.indices) == n_samples
    assert np.isfinite(found.places).all()
    clusters = count_clusters(rows, [0], 20, 3, 0)
    assert clusters.pool_counts.sum() == n_samples


def test_clusters_count_pool_and_picks():
    draw = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [100, 60, 40])
    rows = canonical_rows(np.eye(3)[group] * 5 + 0.1 * draw.normal(size=(200, 3)))
    picks = [0, 1, 2, 170, 171]
    found = count_clusters(rows, picks, 3, 2, 0)
    assert found.pool_counts.tolist() == [100, 60, 40]
    assert found.pick_counts.tolist() == [3, 0, 2]
    for cluster, typical in enumerate(found.typical):
        members = np.flatnonzero(group == cluster)
        centre = rows[members].mean(axis=0)
        order = members[((rows[members] - centre) ** 2).sum(axis=1).argsort()]
        assert typical == order[:2].tolist()
