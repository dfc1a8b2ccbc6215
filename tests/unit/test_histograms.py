import json
from pathlib import Path

import numpy as np
import pytest

import class_histograms
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, write_csv
from zeroshot_al.orders import HEADER, REASON_HEADER, SEEDED_HEADER, read_orders, read_seeded_orders
from zeroshot_al.report.figures import save_figure
from zeroshot_al.report.histograms import (
    class_counts,
    class_names,
    imbalance,
    plot_class_histograms,
    read_pool_labels,
)
from zeroshot_al.report.methods import METHODS

TEMPLATES = Path(__file__).parents[2] / ".dvc/plots"
N_POOL, REACH, SEEDS = 60, 30, (3, 5)
RECOMMENDED = "data/zero_shot_orders"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A pool of 60 images in 3 classes; random's orders reach all of it, Core-Set's 30."""
    monkeypatch.chdir(tmp_path)
    labels = [("cat", "dog", "owl")[i % 3] for i in range(N_POOL)]
    ids = [f"train/{label}/{i}" for i, label in enumerate(labels)]
    rows = [(image, "train", label) for image, label in zip(ids, labels, strict=True)]
    write_csv("data/pool/index.csv", ["id", "split", "label"], [*rows, ("t", "test", "cat")])
    # MoCo takes every cat first; SimCLR takes the classes in turn.
    for name, order in {
        "moco": sorted(range(N_POOL), key=lambda i: labels[i]),
        "simclr": range(N_POOL),
    }.items():
        write_csv(
            f"data/orders/{name}.csv",
            HEADER,
            [(rank, i, ids[i], 1 / (rank + 1)) for rank, i in enumerate(order)],
        )
        write_csv(
            f"{RECOMMENDED}/{name}.csv",
            REASON_HEADER,
            [(rank, i, ids[i], "far") for rank, i in enumerate(range(N_POOL - 1, -1, -1))],
        )
    rng = np.random.default_rng(0)
    for name, length in {"random": N_POOL, "coreset": REACH}.items():
        write_csv(
            f"data/baselines/{name}.csv",
            SEEDED_HEADER,
            [
                (seed, rank, i, ids[i])
                for seed in SEEDS
                for rank, i in enumerate(rng.permutation(N_POOL)[:length])
            ],
        )
    set_budget(15)
    return tmp_path


def set_budget(budget):
    Path("params.yaml").write_text(
        f"profile: demo\nbudget: {budget}\nbudgets: [10, {REACH}]\nseeds: [3, 5]\n"
        "rule: zero_shot\nprofiles: {demo: {order: {}}}\n"
        "defaults: {order: {method: simclr, n_select: 9, n_targets: 9, seed: 0}}\n"
    )


def test_counts_equal_a_plain_count():
    rng = np.random.default_rng(1)
    labels = [f"c{i}" for i in rng.integers(0, 7, 500)]
    orders = [rng.permutation(500).tolist() for _ in range(3)]
    counts = class_counts(orders, labels, 200)
    assert counts.shape == (3, 7)
    for order, row in zip(orders, counts, strict=True):
        picked = [labels[i] for i in order[:200]]
        assert row.tolist() == [picked.count(name) for name in class_names(labels)]
    # A class that is never picked.
    assert class_counts([[0, 1]], ["a", "a", "b"], 2).tolist() == [[2, 0]]
    with pytest.raises(InputError, match="budget 3 exceeds the 2 picks"):
        class_counts([[0, 1]], ["a", "b", "a"], 3)


def test_imbalance_is_of_each_seed_not_of_their_mean():
    assert imbalance(np.array([[5, 5, 5]])) == 0
    # Opposite draws average to a perfect balance that neither of them has.
    assert imbalance(np.array([[2, 8], [8, 2]])) == pytest.approx(0.6)


def test_numbers_sort_by_value():
    assert class_names(["10", "9", "2", "2"]) == ["2", "9", "10"]
    assert class_names(["dog", "cat", "3"]) == ["3", "cat", "dog"]


def test_stage_writes_counts_picture_and_metric(workspace):
    class_histograms.main()
    rows = read_csv("plots/class_histograms.csv", ["method", "class", "count", "min", "max"])
    counts = {(row["method"], row["class"]): float(row["count"]) for row in rows}
    assert counts["moco", "cat"] == 15
    assert counts["moco", "owl"] == 0
    assert {counts["simclr", name] for name in ("cat", "dog", "owl")} == {5}
    for method in ("moco", "simclr", "random", "coreset"):
        assert sum(counts[method, name] for name in ("cat", "dog", "owl")) == 15
    for row in rows:
        assert int(row["min"]) <= float(row["count"]) <= int(row["max"])
    metric = json.loads(Path("metrics/class_imbalance.json").read_text())
    assert metric["simclr"] == 0 < metric["random"] < metric["moco"]
    first = Path("plots/class_histograms.png").read_bytes()
    assert len(first) > 10_000
    class_histograms.main()
    assert Path("plots/class_histograms.png").read_bytes() == first


def test_budget_above_coreset_leaves_its_panel_out(workspace):
    set_budget(REACH + 1)
    class_histograms.main()
    metric = json.loads(Path("metrics/class_imbalance.json").read_text())
    assert sorted(metric) == ["moco", "random", "simclr", "simclr_zero_shot"]
    figure = plot_class_histograms(
        {m.name: None if m.name == "coreset" else np.full((1, 3), 20) for m in METHODS}, "abc", 60
    )
    assert "no order of 60 images" in figure.axes[len(METHODS) - 1].texts[0].get_text()


@pytest.mark.parametrize("active", ["simclr", "pretrained"])
def test_a_method_that_is_not_active_has_no_panel(workspace, active):
    Path("data/orders/simclr.csv").rename(f"data/orders/{active}.csv")
    Path(f"{RECOMMENDED}/simclr.csv").rename(f"{RECOMMENDED}/{active}.csv")
    for directory in ("data/orders", RECOMMENDED):
        Path(f"{directory}/moco.csv").unlink()
    class_histograms.main()
    metric = json.loads(Path("metrics/class_imbalance.json").read_text())
    assert list(metric) == [active, f"{active}_zero_shot", "random", "coreset"]
    figure = plot_class_histograms({name: np.full((1, 3), 5) for name in metric}, ["a"] * 3, 15)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    titles = {method.name: method.label for method in METHODS}
    found = [axis.get_title(loc="left").strip() for axis in shown]
    assert found == [titles[name] for name in metric]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: set_budget(N_POOL + 1), "budget 61 exceeds the pool of 60 in data/pool"),
        (
            lambda: cut_lines("data/orders/moco.csv", slice(11, None)),
            "budget 15 exceeds the 10 picks of moco's order",
        ),
        (
            lambda: cut_lines("data/baselines/random.csv", slice(61, None)),
            r"seeds \[3\] instead of",
        ),
        (
            lambda: Path("data/orders/simclr.csv").rename("data/orders/byol.csv"),
            "method 'byol' has no label and colour; add its line to METHODS",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused_and_nothing_written(workspace, change, message):
    change()
    with pytest.raises(InputError, match=message):
        class_histograms.main()
    assert not Path("plots").exists()


def cut_lines(path, removed):
    lines = Path(path).read_text().splitlines(keepends=True)
    del lines[removed]
    Path(path).write_text("".join(lines))


def test_an_order_of_another_pool_or_with_a_gap_is_refused(workspace):
    ids, _ = read_pool_labels("data/pool/index.csv")
    with pytest.raises(InputError, match="one of the two is cut off"):
        read_seeded_orders("data/baselines/random.csv", ids[:9])
    others = [*ids[:7], "train/other", *ids[8:]]
    with pytest.raises(InputError, match=r"index 7 of data/orders/moco.csv is not 'train/dog/7'"):
        read_orders(None, RECOMMENDED, "data/orders", others)
    cut_lines("data/orders/simclr.csv", slice(4, 5))
    with pytest.raises(InputError, match=r"rank 4 of data/orders/simclr.csv should be 3"):
        read_orders(None, RECOMMENDED, "data/orders", ids)


@pytest.mark.parametrize("n_classes", [2, 10, 100])
def test_any_number_of_classes_is_drawn(n_classes, tmp_path):
    counts = {method.name: np.full((2, n_classes), 3) for method in METHODS}
    classes = [f"class {i}" for i in range(n_classes)]
    classes[1] = r"$\frac$"  # no formula, and no error that it is none
    figure = plot_class_histograms(counts, classes, 3 * n_classes)
    save_figure(figure, tmp_path / "a.png")
    # The lowest panel of each column.
    named = [text.get_text() for text in figure.axes[len(METHODS) - 1].get_xticklabels()] == classes
    assert named == (n_classes <= 20)


def test_templates_draw_the_methods_as_the_pictures_do():
    curves = json.loads((TEMPLATES / "learning_curves.json").read_text())
    # By a column of the data, so that the legend lists the methods that were run.
    assert curves["encoding"]["color"]["scale"] == {"range": {"field": "color"}}
    colors = ", ".join(f"{method.name}: '{method.color}'" for method in METHODS)
    color = f"{{{colors}}}[datum.method] || 'black'"
    assert color in [step.get("calculate") for step in curves["transform"]]
    histograms = json.loads((TEMPLATES / "class_histograms.json").read_text())
    assert histograms["facet"]["sort"] is None  # as the rows come, in the order of METHODS
