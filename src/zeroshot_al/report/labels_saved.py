"""Labels saved: how many random labels do what so many chosen ones do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from zeroshot_al.report.figures import styled
from zeroshot_al.report.tables import FEATURES

N_BOOTSTRAP = 200
CSV_HEADER = (
    "encoder",
    "pool",
    "order",
    "head",
    "features",
    "budget",
    "n_resamples",
    "accuracy",
    "difference",
    "labels_saved",
    "low",
    "high",
)
ORDERS = {  # label, colour of Okabe and Ito, marker
    "kcenter": ("k-center", "#D55E00", "s"),
    "coverage": ("coverage", "#009E73", "^"),
    "zero_shot": ("hedged coverage", "#E69F00", "v"),
}
POOLS = {
    "pool": "as it is",
    "coarse": "its coarse classes",
    "tail": "a long tail of it, balanced accuracy",
    "all": "all of it",
}


@dataclass(frozen=True)
class Row:
    """One row of plots/probe_curves.csv; accuracies are fractions.

    `difference` is to random; `low` and `high` hold 95% of what resampled resamples give of
    `labels_saved`, None for a single pool. Random has no `labels_saved`.
    """

    encoder: str
    pool: str
    order: str
    head: str
    features: str
    budget: int
    n_resamples: int
    accuracy: float
    difference: float
    labels_saved: float | None
    low: float | None
    high: float | None


def labels_saved(
    accuracies: np.ndarray, random: np.ndarray, budgets: Sequence[int], chance: float
) -> np.ndarray:
    """Divide the number of random labels that reach an accuracy by the number of chosen ones.

    Random's curve is made monotone and interpolated in the logarithm of the labels, from chance
    with one label on; beyond its last budget it goes on as between the last two, up to four times
    the labels.

    Parameters
    ----------
    accuracies, random : ndarray of shape (n_budgets,)
        Mean accuracies of the order and of random.
    budgets : sequence of int
        Increasing.
    chance : float
        Accuracy with one label.

    Returns
    -------
    ndarray of shape (n_budgets,)
    """
    x = np.log([1.0, *budgets])
    y = np.maximum.accumulate([min(chance, random[0]), *random])
    slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
    if slope > 0:
        x, y = np.append(x, x[-1] + np.log(4)), np.append(y, y[-1] + slope * np.log(4))
    # Strictly rising, so that of a flat part the first number of labels is taken.
    rises = np.concatenate([[True], np.diff(y) > 0])
    return np.exp(np.interp(accuracies, y[rises], x[rises])) / np.asarray(budgets)


def summarise_probe(results: Iterable[tuple[str, Mapping]], seed: int) -> list[Row]:
    """Average over the resamples, and compare with random.

    Parameters
    ----------
    results : iterable of tuple of str and mapping
        The method whose features chose, and what `probe_resample` returned.
    seed : int
        Of the bootstrap.
    """
    drawn: dict[tuple, dict[int, list]] = {}
    chances: dict[tuple, list[float]] = {}
    for encoder, found in results:
        for pool, chance in found.get("chance", {}).items():
            chances.setdefault((encoder, pool), []).append(chance)
        curves: dict[tuple, dict[int, list]] = {}
        for run in found.get("runs", ()):
            curve = (encoder, run["pool"], run["order"], run["head"], run["features"])
            by_budget = curves.setdefault(curve, {})
            by_budget.setdefault(run["budget"], []).append(run["accuracy"])
        for curve, by_budget in curves.items():
            for budget, accuracies in by_budget.items():
                means = drawn.setdefault(curve, {}).setdefault(budget, [])
                means.append(float(np.mean(accuracies)))
    rows = []
    for (encoder, pool, order, *probe), by_budget in drawn.items():
        budgets = sorted(by_budget)
        found = np.array([by_budget[budget] for budget in budgets]).T
        random = drawn[(encoder, pool, "random", *probe)]
        chosen = np.array([random[budget] for budget in budgets]).T
        chance = float(np.mean(chances[encoder, pool]))
        saved, (low, high) = [None] * len(budgets), [[None] * len(budgets)] * 2
        if order != "random":
            saved = _plain(labels_saved(found.mean(axis=0), chosen.mean(axis=0), budgets, chance))
            if len(found) > 1:
                low, high = _interval(found, chosen, budgets, chance, seed)
        for place, budget in enumerate(budgets):
            difference = float((found - chosen)[:, place].mean())
            mean = round(float(found[:, place].mean()), 6)
            numbers = (mean, round(difference, 6), saved[place], low[place], high[place])
            rows.append(Row(encoder, pool, order, *probe, budget, len(found), *numbers))
    return rows


def _interval(
    found: np.ndarray, random: np.ndarray, budgets: Sequence[int], chance: float, seed: int
) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    again = []
    for _ in range(N_BOOTSTRAP):
        some = rng.integers(0, len(found), len(found))  # the same of both: they share pools
        means = found[some].mean(axis=0), random[some].mean(axis=0)
        again.append(labels_saved(*means, budgets, chance))
    return [_plain(np.percentile(again, share, axis=0)) for share in (2.5, 97.5)]


def _plain(values: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in values]


def judge(rows: Sequence[Row], results: Iterable[tuple[str, Mapping]]) -> dict[str, dict]:
    """Judge each order by its worst difference to random, then by the labels that it saves.

    Returns
    -------
    dict
        By encoder and order, of the linear head on the encoder's own features:
        `worst_difference` and `mean_difference` over pools and budgets, fractions; `labels_saved`,
        the geometric mean over them; by pool `all_classes_after` so many picks, a mean in which a
        class that never came counts as all picks; `broken_of_100`, a mean of the first picks.
    """
    results = list(results)
    judged: dict[str, dict] = {}
    for encoder, order in dict.fromkeys((row.encoder, row.order) for row in rows):
        own = [row for row in rows if (row.encoder, row.order) == (encoder, order)]
        own = [row for row in own if row.head == "linear" and row.features == encoder]
        mine = [found for name, found in results if name == encoder]
        verdict: dict[str, object] = {}
        if order != "random":
            verdict = {
                "worst_difference": min(row.difference for row in own),
                "mean_difference": round(float(np.mean([row.difference for row in own])), 6),
                "labels_saved": round(
                    float(np.exp(np.mean([np.log(row.labels_saved) for row in own]))), 4
                ),
            }
        after: dict[str, list[int]] = {}
        for entry in (entry for found in mine for entry in found.get("seen", ())):
            if entry["order"] == order:
                after.setdefault(entry["pool"], []).append(entry["count"] or entry["limit"])
        verdict["all_classes_after"] = {
            pool: round(float(np.mean(counts)), 1) for pool, counts in after.items()
        }
        broken = [entry for found in mine for entry in found.get("broken", ())]
        if counts := [entry["count"] for entry in broken if entry["order"] == order]:
            verdict["broken_of_100"] = round(float(np.mean(counts)), 1)
        judged.setdefault(encoder, {})[order] = verdict
    return judged


@styled()
def plot_labels_saved(rows: Sequence[Row]) -> Figure:
    """Draw labels saved against labels, a row of panels an encoder and a column a pool.

    Of the linear head on the features that chose.
    """
    encoders = list(dict.fromkeys(row.encoder for row in rows))
    pools = [pool for pool in POOLS if any(row.pool == pool for row in rows)]
    figure = Figure(figsize=(4 * len(pools), 3.2 * len(encoders)), layout="constrained")
    axes = figure.subplots(len(encoders), len(pools), squeeze=False, sharey=True)
    for line, encoder in zip(axes, encoders, strict=True):
        for axis, pool in zip(line, pools, strict=True):
            axis.axhline(1, color="#666666", linestyle=(0, (1, 1)), linewidth=2)
            axis.set_title(f"{FEATURES.get(encoder, encoder)}: {POOLS[pool]}")
            for order, (label, color, marker) in ORDERS.items():
                curve = [
                    row
                    for row in rows
                    if (row.encoder, row.pool, row.order) == (encoder, pool, order)
                    and (row.head, row.features) == ("linear", encoder)
                ]
                x = [row.budget for row in curve]
                axis.plot(
                    x,
                    [row.labels_saved for row in curve],
                    color=color,
                    marker=marker,
                    markersize=5,
                    linewidth=2,
                    label=label,
                )
                if curve and curve[0].low is not None:
                    bounds = [row.low for row in curve], [row.high for row in curve]
                    axis.fill_between(x, *bounds, color=color, alpha=0.15, linewidth=0)
            axis.set_xscale("log")
            axis.set_yscale("log")
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_yticks([0.5, 1, 2, 4, 8], minor=False)
            axis.minorticks_off()
            axis.set_xlabel("labels")
        line[0].set_ylabel("random labels that do the same,\nfor each label")
    axes[0, 0].legend(loc="best")
    return figure
