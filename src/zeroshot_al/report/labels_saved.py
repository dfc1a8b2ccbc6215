"""Labels saved: how many random labels do what so many chosen ones do."""

import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import read_csv

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


def read_probe_rows(path: str | Path) -> list[Row]:
    """Read plots/probe_curves.csv.

    Raises
    ------
    InputError
        If the file is missing or has other columns.
    """
    kinds = typing.get_type_hints(Row)
    # An empty cell is None.
    kinds |= dict.fromkeys(
        ("labels_saved", "low", "high"), lambda cell: float(cell) if cell else None
    )
    return [
        Row(**{name: kinds[name](cell) for name, cell in row.items()})
        for row in read_csv(path, CSV_HEADER)
    ]


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
