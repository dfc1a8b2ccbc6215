import json
import math
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import learning_curves
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_json, write_json
from zeroshot_al.report.curves import (
    from_csv,
    mean_and_sd,
    mean_over_budgets,
    paired_differences,
    plot_learning_curves,
    read_accuracies,
    summarise,
)
from zeroshot_al.report.methods import METHODS
from zeroshot_al.report.tables import markdown_linear_eval, markdown_results, plain_table

BUDGETS = (10, 20, 30)
# What a run shows that trains both encoders; METHODS has more.
SHOWN = [m for m in METHODS if m.name in ("moco", "simclr", "random", "coreset")]


def make_accuracies(budgets=BUDGETS, seeds=(0, 1, 2), shown=SHOWN):
    rng = np.random.default_rng(4)
    return {
        budget: {
            method.name: {
                seed: round(0.7 + budget / 200 + rng.normal(0, 0.01), 4) for seed in seeds
            }
            for method in shown
        }
        for budget in budgets
    }


def runs(by_seed):
    """As a stage writes them."""
    return [{"seed": seed, "accuracy": value} for seed, value in by_seed.items()]


def write_workspace(accuracies, budget=BUDGETS[-1]):
    """Write what the training stages write, and the params."""
    for at, by_method in accuracies.items():
        by_stage = {}
        for name, found in by_method.items():
            stage = f"baseline_{name}" if name in ("random", "coreset") else "train_budget"
            by_stage.setdefault(stage, {})[name] = runs(found)
        for stage, found in by_stage.items():
            write_json(f"metrics/{stage}/{at}.json", found)
    set_budget(budget)


def set_budget(budget):
    Path("params.yaml").write_text(
        f"profile: demo\nbudget: {budget}\nbudgets: {list(BUDGETS)}\n"
        "seeds: [0, 1, 2]\nrule: kcenter\nprofiles: {demo: {}}\n"
    )


@pytest.fixture
def accuracies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    accuracies = make_accuracies()
    write_workspace(accuracies)
    return accuracies


def test_the_stage_collects_every_accuracy_and_its_difference(accuracies):
    learning_curves.main()
    assert from_csv("plots/learning_curves.csv") == accuracies
    for budget, by_method in accuracies.items():
        means = read_json(f"metrics/by_budget/{budget}.json")
        assert list(means) == [method.name for method in SHOWN]
        for name, mean in means.items():
            assert mean == pytest.approx(sum(by_method[name].values()) / 3, abs=1e-6)
    # Differences are paired by seed.
    paired = read_json("metrics/paired_differences.json")
    assert len(paired["by_budget"]) == 3 * 3
    for row in paired["by_budget"]:
        runs = accuracies[row["budget"]]
        differences = [runs[row["method"]][seed] - runs["random"][seed] for seed in (0, 1, 2)]
        mean, sd = np.mean(differences), np.std(differences, ddof=1)
        # 4.302653: Student's 97.5% quantile at 2 degrees of freedom, from a printed table.
        half = 4.302653 * sd / math.sqrt(3)
        found = [row[key] for key in ("mean", "sd", "low", "high", "n")]
        assert found == pytest.approx([mean, sd, mean - half, mean + half, 3], abs=2e-6)
    for row in paired["mean_over_budgets"]:
        cells = [each["mean"] for each in paired["by_budget"] if each["method"] == row["method"]]
        assert row["mean"] == pytest.approx(np.mean(cells), abs=2e-6)
        assert paired[row["method"]] == row["mean"]
    # The same picture whatever the user's style is.
    first = Path("plots/learning_curves.png").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "savefig.dpi": 20}):
        learning_curves.main()
    assert Path("plots/learning_curves.png").read_bytes() == first


@pytest.mark.parametrize("active", [("simclr",), ("pretrained",)])
def test_only_the_active_methods_are_collected_drawn_and_tabled(tmp_path, monkeypatch, active):
    monkeypatch.chdir(tmp_path)
    shown = [method for method in METHODS if method.name in {*active, "random", "coreset"}]
    accuracies = make_accuracies(shown=shown)
    write_workspace(accuracies)
    learning_curves.main()
    assert from_csv("plots/learning_curves.csv") == accuracies
    assert list(read_json("metrics/by_budget/20.json")) == [*active, "random", "coreset"]
    lines = plot_learning_curves(accuracies, "demo").axes[0].lines
    assert [line.get_color() for line in lines] == [method.color for method in shown]
    for table in (plain_table(accuracies), markdown_results(accuracies)):
        for method in METHODS:
            assert (method.label in table) == (method in shown)
    probe = {name: {"linear": 0.5, "knn": 0.4} for name in (*active, "pixels")}
    assert len(markdown_linear_eval(probe).splitlines()) == 4 + len(active) + 1


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "train_budget/10",
            {"simclr": runs({0: 0.5})},
            r"holds \['simclr'\] instead of \['moco', 'si",
        ),
        (
            "train_budget/30",
            {"byol": runs({0: 0.5})},
            "'byol' has no label and colour; add its line to",
        ),
        ("baseline_coreset/20", None, r"metrics/baseline_coreset/20.json does not exist"),
    ],
)
def test_what_cannot_be_collected_is_refused_and_nothing_written(
    accuracies, file, content, message
):
    path = Path(f"metrics/{file}.json")
    path.unlink() if content is None else write_json(path, content)
    with pytest.raises(InputError, match=message):
        learning_curves.main()
    assert not Path("plots").exists()


def test_a_budget_outside_the_list_has_no_baselines(accuracies):
    found = {"moco": runs({0: 0.7, 1: 0.8}), "simclr": runs({0: 0.6})}
    write_json("metrics/train_budget/15.json", found)
    set_budget(15)
    learning_curves.main()
    assert read_json("metrics/by_budget/15.json") == {"moco": 0.75, "simclr": 0.6}
    paired = read_json("metrics/paired_differences.json")
    assert {row["budget"] for row in paired["by_budget"]} == set(BUDGETS)
    set_budget(20)
    learning_curves.main()
    # What is left over of it stays out.
    assert {path.stem for path in Path("metrics/by_budget").iterdir()} == {"10", "20", "30"}
    assert set(from_csv("plots/learning_curves.csv")) == set(BUDGETS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"random": runs({0: 71.3})}, "accuracy 71.3 of random, seed 0, .* not a fraction"),
        ({"random": runs({0: -0.1})}, "accuracy -0.1"),
        ({"coreset": runs({0: 0.5})}, r"holds \['coreset'\] instead of \['random'\]"),
        ({}, r"holds \[\]"),
        ({"random": runs({0: math.nan})}, "accuracy nan"),
    ],
)
def test_bad_metrics_are_refused(content, message, tmp_path):
    path = tmp_path / "10.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_accuracies(path, ["random"])


def test_a_method_without_a_run_is_left_out(tmp_path):
    write_json(tmp_path / "a.json", {"moco": [], "random": runs({0: 0.5, 7: 1})})
    assert read_accuracies(tmp_path / "a.json", ["random", "moco"]) == {"random": {0: 0.5, 7: 1.0}}


def test_one_value_has_no_spread():
    assert mean_and_sd([0.25]) == (0.25, None)
    assert mean_and_sd([1, 3]) == (2, pytest.approx(math.sqrt(2)))
    assert summarise({0: 0.25}) == {"mean": 0.25, "sd": None, "low": None, "high": None, "n": 1}


def test_only_common_seeds_are_paired():
    by_method = {"moco": {0: 0.5, 1: 0.75}, "simclr": {9: 0.5}, "random": {1: 0.5, 2: 0.9}}
    assert paired_differences(by_method) == {"moco": {1: 0.25}}
    assert paired_differences({"moco": {0: 0.5}}) == {}


def test_a_seed_missing_at_one_budget_is_left_out_of_the_mean():
    by_budget = {
        10: {"moco": {0: 0.75, 1: 0.9}, "random": {0: 0.5, 1: 0.1}},
        20: {"moco": {0: 0.75}, "random": {0: 0.25, 1: 0.1}},
        25: {"moco": {0: 0.1, 1: 0.1}},
    }
    assert mean_over_budgets(by_budget) == {"moco": {0: 0.375}}
    assert mean_over_budgets({25: by_budget[25]}) == {}


@pytest.mark.parametrize(("budgets", "seeds"), [((10,), (0,)), (BUDGETS, (0,)), (BUDGETS, (0, 1))])
def test_line_per_method_and_mean_in_percent(budgets, seeds):
    accuracies = make_accuracies(budgets, seeds)
    above = plot_learning_curves(accuracies, "demo").axes[0]
    assert len(above.lines) == len(SHOWN)
    for line, method in zip(above.lines, SHOWN, strict=True):
        assert line.get_color() == method.color
        assert line.get_xdata().tolist() == list(budgets)
        expected = [100 * np.mean(list(accuracies[b][method.name].values())) for b in budgets]
        assert line.get_ydata() == pytest.approx(expected)
    assert f"Profile demo: {'1 seed' if len(seeds) == 1 else 'mean'}" in above.get_title()
