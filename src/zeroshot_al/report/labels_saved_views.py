"""Labels saved, as a figure and as a table."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from zeroshot_al.report.figures import styled
from zeroshot_al.report.labels_saved import Row
from zeroshot_al.report.tables import FEATURES, markdown_table

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


def markdown_labels_saved(rows: Sequence[Row]) -> str:
    """Table of the labels saved by pool and budget, with the features best for random labels.

    Of the linear head on the features that chose.
    """
    rows = [row for row in rows if row.head == "linear" and row.features == row.encoder]
    random = [row for row in rows if row.order == "random"]
    means = {
        name: np.mean([row.accuracy for row in random if row.encoder == name])
        for name in dict.fromkeys(row.encoder for row in random)
    }
    encoder = max(means, key=means.__getitem__)
    cells = {(row.pool, row.budget, row.order): row for row in rows if row.encoder == encoder}
    lines = [
        [
            POOLS[row.pool],
            f"{row.budget:,}",
            f"{100 * row.accuracy:.1f}",
            *(_cell(cells[row.pool, row.budget, order]) for order in ORDERS),
        ]
        for pool in POOLS
        for row in random
        if (row.encoder, row.pool) == (encoder, pool)
    ]
    header = ["pool", "labels", "random, %", *(label for label, _, _ in ORDERS.values())]
    return (
        "Random labels that do what one chosen label does, with 95% intervals of resampled pools "
        f"(a linear layer on frozen features of {FEATURES.get(encoder, encoder)}):\n\n"
        f"{markdown_table(header, lines)}"
    )


def _cell(row: Row) -> str:
    if row.low is None:
        return f"{row.labels_saved:.2f}"
    return f"{row.labels_saved:.2f} ({row.low:.2f} to {row.high:.2f})"


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
            budgets = sorted({row.budget for row in rows if row.pool == pool})
            axis.set_xticks(budgets[:: 1 + len(budgets) // 6])
            for scale in (axis.xaxis, axis.yaxis):
                scale.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.set_yticks([0.5, 1, 2, 4, 8], minor=False)
            axis.minorticks_off()
            axis.set_xlabel("labels")
        line[0].set_ylabel("random labels that do the same,\nfor each label")
    axes[0, 0].legend(loc="best")
    return figure
