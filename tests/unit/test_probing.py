"""Labels saved with frozen features: pools, heads, and the arithmetic of the measure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import probe_curves
from pools import write_pool
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, write_npy
from zeroshot_al.base.params import read_yaml
from zeroshot_al.base.pool import Pool
from zeroshot_al.probing.broken import broken_images
from zeroshot_al.probing.heads import centred, head_accuracies
from zeroshot_al.probing.pools import (
    COARSE,
    BudgetsParams,
    PoolsParams,
    ProbeParams,
    broken_counts,
    coarse_codes,
    draw_sample,
    draw_tail,
    seen_all_after,
)
from zeroshot_al.probing.resample import make_orders, probe_resample
from zeroshot_al.report.labels_saved import (
    CSV_HEADER,
    judge,
    labels_saved,
    read_probe_rows,
    summarise_probe,
)
from zeroshot_al.report.labels_saved_views import markdown_labels_saved

ROOT = Path(__file__).parents[2]
POOLS = PoolsParams(2, 12000, 2, 100, 0)
PARAMS = ProbeParams(BudgetsParams((5, 10, 20), (1000,)), POOLS, 10.0)
BUDGETS = [10, 20, 40, 80]


def blobs(n_samples, n_classes=3, seed=0):
    """Make float32 (n_samples, 8) rows around a centre a class, and their int64 classes."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n_samples) % n_classes
    centres = np.random.default_rng(9).normal(size=(n_classes, 8))
    return (centres[labels] + draw.normal(size=(n_samples, 8))).astype(np.float32), labels


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A pool without pixels of 300 train and 60 test images, and features by two methods."""
    monkeypatch.chdir(tmp_path)
    rows, labels = blobs(360)
    names = [("cat", "dog", "owl")[label] for label in labels]
    ids, splits = [f"i{number}" for number in range(360)], ["train"] * 300 + ["test"] * 60
    write_pool(Pool(np.zeros((360, 0, 0, 3), np.uint8), ids, splits, names), "data/pool")
    write_npy("data/embeddings/moco.npy", rows)
    write_npy("data/embeddings/simclr.npy", rows[:, :5] + 1)
    document = read_yaml((ROOT / "params.yaml").read_text(encoding="utf-8"))
    document["profile"] = "demo"
    document["profiles"]["demo"]["probe"] = {
        "budgets": {"drawn": [5, 10, 20]},
        "pools": {"n_resamples": 2},
    }
    Path("params.yaml").write_text(json.dumps(document), encoding="utf-8")
    return document


def test_heads_are_a_plain_fit_and_a_plain_search():
    rows, labels = blobs(60)
    test, test_labels = blobs(90, seed=1)
    rows, test = (centred(part, rows.mean(axis=0)) for part in (rows, test))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    test_labels[:20] = 2  # so that balanced accuracy is another number
    for balanced in (False, True):
        found = head_accuracies(
            rows, labels, test, test_labels, [1, 3, 7, 60], 10.0, balanced=balanced
        )
        for place, budget in enumerate([1, 3, 7, 60]):
            nearest = labels[np.linalg.norm(test[:, None] - rows[:budget], axis=2).argmin(axis=1)]
            linear = np.zeros(90, int)  # of one class, that class
            if budget > 1:
                model = LogisticRegression(C=10.0, max_iter=1000)
                linear = model.fit(rows[:budget], labels[:budget]).predict(test)
            for head, predicted in (("linear", linear), ("nearest", nearest)):
                right = predicted == test_labels
                parts = [right[test_labels == label].mean() for label in range(3)]
                expected = np.mean(parts) if balanced else right.mean()
                assert found[head][place] == pytest.approx(expected)


def test_pools_are_drawn_as_they_should():
    rng = np.random.default_rng(0)
    labels = np.arange(5000) % 10
    sample = draw_sample(5000, replace(POOLS, n_images=300), rng)
    assert (len(sample), len(set(sample.tolist()))) == (300, 300)
    assert len(draw_sample(5000, POOLS, rng)) == 4000
    sizes = []
    for _ in range(2):
        tail = draw_tail(labels, POOLS, rng)
        assert len(set(tail.tolist())) == len(tail)
        sizes.append(np.bincount(labels[tail]))
        assert sorted(sizes[-1])[::9] == [4, 400]
        smaller, larger = np.sort(sizes[-1])[:-1], np.sort(sizes[-1])[1:]
        np.testing.assert_allclose(larger / smaller, 100 ** (1 / 9), rtol=0.15)
    assert (sizes[0] != sizes[1]).any()
    assert len(draw_tail(labels, replace(POOLS, n_images=500), rng)) == pytest.approx(500, abs=5)
    assert broken_counts(50_000, POOLS) == (1200, 60)
    assert broken_counts(500, POOLS) == (400, 20)


def test_coarse_classes_and_when_all_are_seen():
    vehicles, animals = COARSE["vehicle"], COARSE["animal"]
    assert coarse_codes([*vehicles, *animals]).tolist() == [0] * 4 + [1] * 6
    assert coarse_codes(["cat", "dog"]) is None
    assert seen_all_after(np.array([2, 2, 0, 1, 0]), 3) == 4
    assert seen_all_after(np.array([2, 2, 0]), 3) is None


def test_broken_images_are_noise_a_colour_and_text():
    noise, colour, text = broken_images(3, 32, 48, seed=0)
    assert noise.shape == (32, 48, 3)
    assert len(np.unique(noise.reshape(-1, 3), axis=0)) > 1400
    assert len(np.unique(colour.reshape(-1, 3), axis=0)) == 1
    white = (text == 255).all(axis=2).mean()
    assert 0.3 < white < 0.99


def test_labels_saved_are_the_random_labels_for_each():
    random = np.array([0.4, 0.5, 0.6, 0.7])
    assert labels_saved(random, random, BUDGETS, 0.1) == pytest.approx([1, 1, 1, 1])
    # A budget further at each, also beyond the last of random's.
    ahead = np.array([0.5, 0.6, 0.7, 0.8])
    assert labels_saved(ahead, random, BUDGETS, 0.1) == pytest.approx([2, 2, 2, 2])
    halfway = labels_saved(random - 0.05, random, BUDGETS, 0.1)
    assert halfway[1:] == pytest.approx([0.5**0.5] * 3)
    assert halfway[0] == pytest.approx(10 ** (0.25 / 0.3) / 10)  # from chance with one label on
    assert labels_saved(random * 0, random, BUDGETS, 0.1) == pytest.approx(
        [0.1, 0.05, 0.025, 0.0125]
    )
    assert labels_saved(random + 1, random, BUDGETS, 0.1) == pytest.approx([32, 16, 8, 4])
    # Where random's curve falls or is flat, its first number of labels counts.
    falling = np.array([0.4, 0.5, 0.45, 0.5])
    assert labels_saved(falling, falling, BUDGETS, 0.1)[3] == pytest.approx(20 / 80)


def make_result(gain):
    """Two budgets of one pool, in which an order is `gain` above two draws of random."""
    runs = [
        {
            "pool": "pool",
            "order": order,
            "draw": draw,
            "features": "moco",
            "head": "linear",
            "budget": budget,
            "accuracy": accuracy,
        }
        for budget, random in ((10, 0.4), (20, 0.5))
        for order, draw, accuracy in (
            ("kcenter", 0, random + gain),
            ("random", 1, random - 0.1),
            ("random", 2, random + 0.1),
        )
    ]
    seen = [{"pool": "pool", "order": "kcenter", "count": None, "limit": 20}]
    broken = [{"order": "kcenter", "count": 7}]
    return {"runs": runs, "seen": seen, "broken": broken, "chance": {"pool": 0.1}}


def test_resamples_are_averaged_and_orders_judged():
    results = [("moco", make_result(0.0)), ("moco", make_result(0.2))]
    rows = summarise_probe(results, seed=0)
    assert [(row.order, row.budget) for row in rows] == [
        *(("kcenter", budget) for budget in (10, 20)),
        *(("random", budget) for budget in (10, 20)),
    ]
    for row in rows[:2]:
        assert row.n_resamples == 2
        assert row.difference == pytest.approx(0.1)
        assert row.labels_saved == pytest.approx(2)
        # Of two resamples, one or the other twice: one and four times the labels.
        assert (row.low, row.high) == (pytest.approx(1), pytest.approx(4))
    assert [row.labels_saved for row in rows[2:]] == [None, None]
    assert rows[2].accuracy == pytest.approx(0.4)
    verdict = judge(rows, results)["moco"]["kcenter"]
    assert verdict == {
        "worst_difference": 0.1,
        "mean_difference": 0.1,
        "labels_saved": 2.0,
        "all_classes_after": {"pool": 20.0},
        "broken_of_100": 7.0,
    }
    (row, *_) = summarise_probe(results[:1], seed=0)
    assert (row.low, row.high) == (None, None)


def test_each_rule_orders_and_random_is_drawn():
    rows, _ = blobs(300)
    orders = make_orders(rows, 30, 2, 0, np.random.default_rng(0))
    assert [name for name, _ in orders] == ["kcenter", "coverage", "zero_shot", "random", "random"]
    assert len({tuple(picks) for _, picks in orders}) == 5
    assert all(len(set(picks.tolist())) == 30 for _, picks in orders)


def test_a_resample_is_not_probed_twice(workspace, tmp_path):
    files = {name: f"data/embeddings/{name}.npy" for name in ("moco", "simclr")}
    arguments = ("pool", 1, "moco", files, None, "data/pool", PARAMS)
    found = probe_resample(*arguments, tmp_path / "a.json")
    assert probe_resample(*arguments, tmp_path / "b.json") == found
    (tmp_path / "a.json").write_text('{"saved": 1}')
    assert probe_resample(*arguments, tmp_path / "a.json") == {"saved": 1}
    other = probe_resample("pool", 2, *arguments[2:], tmp_path / "c.json")
    assert other["runs"] != found["runs"]


def test_the_stage_probes_every_pool_and_leaves_no_checkpoint(workspace):
    probe_curves.main()
    rows = read_csv("plots/probe_curves.csv", CSV_HEADER)
    assert {row["pool"] for row in rows} == {"pool", "tail"}
    assert {(row["encoder"], row["features"]) for row in rows} == {
        (encoder, features) for encoder in ("moco", "simclr") for features in ("moco", "simclr")
    }
    assert not list(Path(".checkpoints").rglob("*.json"))
    assert "broken_of_100" not in json.loads(Path("metrics/probe/orders.json").read_text())["moco"]
    table = markdown_labels_saved(read_probe_rows("plots/probe_curves.csv")).splitlines()
    assert table[2] == "| pool | labels | random, % | k-center | coverage | hedged coverage |"
    (row,) = (
        row
        for row in rows
        if (row["encoder"], row["features"], row["head"]) == ("moco", "moco", "linear")
        and (row["pool"], row["budget"], row["order"]) == ("tail", "20", "coverage")
    )
    numbers = [float(row[key]) for key in ("labels_saved", "low", "high")]
    assert "{:.2f} ({:.2f} to {:.2f})".format(*numbers) in table[-1]
    first = {file: file.read_bytes() for file in Path("plots").iterdir()}
    workspace["profiles"]["demo"]["probe"]["budgets"]["all"] = [50, 200, 400]
    Path("params.yaml").write_text(json.dumps(workspace), encoding="utf-8")
    probe_curves.main()
    rows = read_csv("plots/probe_curves.csv", CSV_HEADER)
    reached = {int(row["budget"]) for row in rows if row["pool"] == "all"}
    assert reached == {5, 10, 20, 50, 200}
    assert all(row["low"] == "" for row in rows if row["pool"] == "all")
    del workspace["profiles"]["demo"]["probe"]["budgets"]["all"]
    Path("params.yaml").write_text(json.dumps(workspace), encoding="utf-8")
    probe_curves.main()
    assert {file: file.read_bytes() for file in Path("plots").iterdir()} == first


def test_budgets_that_no_pool_reaches_are_refused(workspace):
    workspace["profiles"]["demo"]["probe"]["budgets"]["drawn"] = [300]
    Path("params.yaml").write_text(json.dumps(workspace), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"probe.budgets.drawn \[300\] are not below the \d+ images of"
    ):
        probe_curves.main()
