"""Accuracy against the number of labels, and paired differences: the paper's figure 2."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from scipy.stats import t as student_t

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, read_json
from zeroshot_al.report.figures import styled
from zeroshot_al.report.methods import BASELINE, Method, registered

Accuracies = dict[int, dict[str, dict[int, float]]]
"""Test accuracy as a fraction, by budget, method and seed."""

CSV_HEADER = ("budget", "method", "seed", "accuracy")


def read_accuracies(path: str | Path, methods: Sequence[str]) -> dict[str, dict[int, float]]:
    """Read the metrics file that one stage wrote for one budget.

    Parameters
    ----------
    path : str or Path
        JSON of {method: [{"seed": seed, "accuracy": fraction}]}.
    methods : sequence of str
        The methods that the file must hold, no more and no fewer.

    Returns
    -------
    dict of str to dict of int to float
        Accuracy by method, in the order of `methods`, and by seed. A method without a run, for
        lack of labels, is left out.

    Raises
    ------
    InputError
        If the file is missing, the methods are others, or an accuracy is not a fraction.
    """
    document = read_json(path)
    if sorted(document) != sorted(methods):
        raise InputError(
            f"{path} holds {sorted(document)} instead of {sorted(methods)}; run its stage again"
        )
    for method, runs in document.items():
        for run in runs:
            if not 0 <= run["accuracy"] <= 1:  # not true of NaN either
                raise InputError(
                    f"accuracy {run['accuracy']} of {method}, seed {run['seed']}, in {path} "
                    "is not a fraction from 0 to 1; run its stage again"
                )
    return {
        method: {run["seed"]: float(run["accuracy"]) for run in document[method]}
        for method in methods
        if document[method]
    }


def to_rows(accuracies: Accuracies) -> list[tuple[int, str, int, float]]:
    """Spread accuracies into rows of `CSV_HEADER`, sorted by budget, method and seed."""
    return [
        (budget, method, seed, accuracy)
        for budget, by_method in sorted(accuracies.items())
        for method, by_seed in by_method.items()
        for seed, accuracy in sorted(by_seed.items())
    ]


def from_csv(path: str | Path) -> Accuracies:
    """Read what `to_rows` gave.

    Raises
    ------
    InputError
        If the file is missing or has other columns.
    """
    accuracies: Accuracies = {}
    for row in read_csv(path, CSV_HEADER):
        by_method = accuracies.setdefault(int(row["budget"]), {})
        by_method.setdefault(row["method"], {})[int(row["seed"])] = float(row["accuracy"])
    return accuracies


def count_seeds(accuracies: Accuracies) -> str:
    """Tell how many seeds stand behind a cell, as "3 seeds" or "2 to 3 seeds"."""
    counts = {len(runs) for by_method in accuracies.values() for runs in by_method.values()}
    few, many = min(counts), max(counts)
    if few < many:
        return f"{few} to {many} seeds"
    return "1 seed" if many == 1 else f"{many} seeds"


def mean_and_sd(values: Iterable[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); None instead of the latter for one value."""
    values = np.fromiter(values, float)
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def paired_differences(by_method: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """Subtract random's accuracy from each other method's, seed by seed.

    Returns
    -------
    dict of str to dict of int to float
        Differences as fractions, over the seeds that both have. Empty without the baseline.
    """
    baseline = by_method.get(BASELINE, {})
    return {
        method: {seed: by_seed[seed] - baseline[seed] for seed in by_seed if seed in baseline}
        for method, by_seed in by_method.items()
        if method != BASELINE and set(by_seed) & set(baseline)
    }


def mean_over_budgets(accuracies: Accuracies) -> dict[str, dict[int, float]]:
    """Average each seed's paired difference over the budgets that hold the baseline.

    One number a seed, because the budgets of one seed share images and are not independent.
    """
    at_baseline = {b: runs for b, runs in accuracies.items() if BASELINE in runs}
    pairs = [paired_differences(by_method) for by_method in at_baseline.values()]
    over_budgets = {}
    for method in registered(set().union(*pairs)):
        by_budget = [pair.get(method.name, {}) for pair in pairs]
        # Seeds with a gap are left out: their mean would be over other budgets than the rest's.
        if seeds := set.intersection(*map(set, by_budget)):
            over_budgets[method.name] = {
                seed: float(np.mean([pair[seed] for pair in by_budget])) for seed in sorted(seeds)
            }
    return over_budgets


def summarise(differences: Mapping[int, float]) -> dict[str, float | int | None]:
    """Mean, spread and Student's 95% interval of paired differences.

    Returns
    -------
    dict
        mean, sd (n - 1), low, high as fractions, and n; sd, low and high are None for one seed.
    """
    mean, sd = mean_and_sd(differences.values())
    n = len(differences)
    found = {"mean": mean, "sd": sd, "low": None, "high": None}
    if sd is not None:
        half = float(student_t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
        found |= {"low": mean - half, "high": mean + half}
    return {key: value if value is None else round(value, 6) for key, value in found.items()} | {
        "n": n
    }


@styled()
def plot_learning_curves(accuracies: Accuracies, profile: str) -> Figure:
    """Draw accuracy against labels, a line and a band a method, above its difference to random.

    Parameters
    ----------
    accuracies : Accuracies
        Fractions; drawn in percent.
    profile : str
        Named in the caption.
    """
    figure = Figure(figsize=(8, 7))
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    methods = registered(set().union(*accuracies.values()))
    others = [method for method in methods if method.name != BASELINE]
    for method in methods:
        curve = {
            budget: mean_and_sd(by_method[method.name].values())
            for budget, by_method in sorted(accuracies.items())
            if method.name in by_method
        }
        x = list(curve)
        mean, sd = 100 * np.array([(mean, sd or 0) for mean, sd in curve.values()]).T
        style = {"color": method.color, "linestyle": method.dashes, "linewidth": 2}
        above.fill_between(x, mean - sd, mean + sd, color=method.color, alpha=0.15, linewidth=0)
        above.plot(x, mean, marker=method.marker, markersize=5, label=method.label, **style)
        if method.name == BASELINE:
            below.axhline(0, **style)
        else:
            place = others.index(method) - (len(others) - 1) / 2
            _plot_differences(below, accuracies, method, place, style)

    seeds = count_seeds(accuracies)
    band = "" if seeds == "1 seed" else "mean and ±1 standard deviation of "
    above.set_title(f"Profile {profile}: {band}{seeds}")
    above.set_ylabel("test accuracy in %")
    above.legend(loc="best")
    below.set_title("Difference to Random, paired: mean, and a point for each seed")
    below.set_ylabel("percentage points")
    below.set_xlabel("labelled images")
    below.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    # A budget outside the list has no baselines; its tick would run into its neighbours.
    below.set_xticks([budget for budget in sorted(accuracies) if BASELINE in accuracies[budget]])
    return figure


def _plot_differences(
    axis: Axes, accuracies: Accuracies, method: Method, place: float, style: dict
) -> None:
    """Draw a line of means and a point a seed, `place` steps beside each budget."""
    pairs = {
        budget: differences[method.name]
        for budget, by_method in sorted(accuracies.items())
        if method.name in (differences := paired_differences(by_method))
    }
    if not pairs:
        return
    # Side by side, so that no method's points hide another's.
    shift = place * 0.008 * (max(accuracies) - min(accuracies))
    means = [100 * mean_and_sd(pair.values())[0] for pair in pairs.values()]
    axis.plot([budget + shift for budget in pairs], means, **style)
    points = [
        (budget + shift, 100 * difference)
        for budget, pair in pairs.items()
        for difference in pair.values()
    ]
    axis.plot(
        *np.array(points).T,
        color=method.color,
        marker=method.marker,
        markersize=4,
        alpha=0.6,
        linestyle="none",
    )
