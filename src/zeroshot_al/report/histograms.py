"""How the classes share the first picks of an order: the paper's figures 3 and 4."""

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_rows
from zeroshot_al.base.pool import HEADER, NO_LABELS
from zeroshot_al.report.figures import styled
from zeroshot_al.report.methods import registered

MAX_NAMED_CLASSES = 20


def read_pool_labels(path: str | Path) -> tuple[list[str], list[str]]:
    """Read ids and class names of the pool, which are the train rows of its index.

    Raises
    ------
    InputError
        If the file is missing, holds no train row, or has no labels.
    """
    ids, labels = [], []
    for name, split, label in read_rows(path, HEADER):
        if split == "train":
            ids.append(name)
            labels.append(sys.intern(label))
    if not ids:
        raise InputError(f"{path} holds no train image; run the download stage again")
    if not any(labels):
        raise InputError(NO_LABELS)
    return ids, labels


def class_names(labels: Sequence[str]) -> list[str]:
    """Sort the distinct labels, numbers by value."""
    return sorted(
        set(labels), key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)
    )


def class_counts(orders: Sequence[Sequence[int]], labels: Sequence[str], budget: int) -> np.ndarray:
    """Count each class among the first `budget` picks.

    Parameters
    ----------
    orders : sequence of sequence of int
        Pool indices by rank, an order a seed.
    labels : sequence of str, length n_pool
        Class name of every pool image.
    budget : int
        Number of images labelled.

    Returns
    -------
    np.ndarray, int64, shape (n_seeds, n_classes)
        Columns as in `class_names(labels)`; every row sums to `budget`.

    Raises
    ------
    InputError
        If an order is shorter than `budget`.
    """
    reach = min(map(len, orders))
    if budget > reach:
        raise InputError(f"budget {budget} exceeds the {reach} picks; lower it in params.yaml")
    counts = [Counter(labels[index] for index in order[:budget]) for order in orders]
    return np.array([[found[name] for name in class_names(labels)] for found in counts])


def imbalance(counts: np.ndarray) -> float:
    """Coefficient of variation of the class counts: 0 when every class is picked equally often.

    Taken a seed at a time and then averaged: the mean of several random draws is more even than
    any of them. A ratio of extremes would be infinite where a class is never picked.

    Parameters
    ----------
    counts : np.ndarray, int64, shape (n_seeds, n_classes)
    """
    return float(np.mean(counts.std(axis=1) / counts.mean(axis=1)))


@styled()
def plot_class_histograms(
    counts: Mapping[str, np.ndarray | None], classes: Sequence[str], budget: int
) -> Figure:
    """Draw a panel of class counts for each method, with the uniform count as a line.

    Parameters
    ----------
    counts : mapping of str to np.ndarray, int64, shape (n_seeds, n_classes), or None
        By method, one panel for each of them; None where the order does not reach the budget,
        which the panel then says.
    classes : sequence of str, length n_classes
    budget : int
        Number of images labelled.
    """
    methods = registered(counts)
    n_rows = math.ceil(len(methods) / 2)
    figure = Figure(figsize=(8, 2.8 * n_rows))
    axes = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[len(methods) :]:
        axis.set_visible(False)
    bottom = axes.flat[len(methods) - 2 : len(methods)]  # the lowest panel of each column
    for axis in bottom:
        axis.tick_params(labelbottom=True)
    uniform = budget / len(classes)
    positions = np.arange(len(classes))
    for axis, method in zip(axes.flat, methods, strict=False):
        # A line above the imbalance, which a long label would run into.
        axis.set_title(f"{method.label}\n", loc="left", fontweight="bold")
        axis.axhline(uniform, color="black", linewidth=1, linestyle=(0, (4, 3)), zorder=3)
        found = counts[method.name]
        if found is None:
            axis.text(
                0.5,
                0.5,
                f"no order of {budget:,} images:\nabove the largest of budgets",
                ha="center",
                va="top",
                transform=axis.transAxes,
            )
            continue
        mean = found.mean(axis=0)
        axis.bar(positions, mean, color=method.color, width=0.8)
        if len(found) > 1:
            spread = np.stack([mean - found.min(axis=0), found.max(axis=0) - mean])
            axis.errorbar(
                positions, mean, yerr=spread, fmt="none", ecolor="black", elinewidth=1, capsize=2
            )
        axis.set_title(f"imbalance {imbalance(found):.1%}", loc="right")
        axis.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if len(classes) <= MAX_NAMED_CLASSES:
        slant = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        for axis in bottom:
            axis.set_xticks(positions, classes, **slant if max(map(len, classes)) > 2 else {})
    else:
        for axis in bottom:
            axis.set_xlabel(f"{len(classes)} classes")
    n_seeds = max(len(found) for found in counts.values() if found is not None)
    title = (
        f"Images of each class among the first {budget:,} picks (dashed: {uniform:,.0f} each)\n"
        "imbalance: standard deviation of the counts over their mean"
    )
    if n_seeds > 1:
        title += f"; error bars: range of {n_seeds} seeds"
    figure.suptitle(title, fontsize=11)
    return figure
