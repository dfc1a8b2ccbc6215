"""Draw docs/method.png: the first picks of three orders on a map of the pool.

    python scripts/method_picture.py data/embeddings/simclr.npy

Reads the embeddings that it is given and data/pool/; the map shows places alone, no image.
"""

import argparse

import numpy as np
from matplotlib.figure import Figure

from zeroshot_al.base.files import read_npy
from zeroshot_al.base.pool import load_pool
from zeroshot_al.coverage import zero_shot_order
from zeroshot_al.gallery.pool_map import lay_out
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.report.figures import save_figure, styled

BUDGETS = (10, 100, 1000)
N_SHOWN = 4000  # other images on the map
N_TARGETS = 10_000  # covered, for a picture
COLORS = {"representative": "#E69F00", "far": "#0072B2", "k-center": "#D55E00", "random": "#666666"}


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings")
    rows = read_npy(parser.parse_args().embeddings, memory_map=True)
    rows = np.array(rows[: load_pool("data/pool").n_train])
    n_select, rng = BUDGETS[-1], np.random.default_rng(0)
    found = zero_shot_order(rows, n_select, n_targets=min(N_TARGETS, len(rows)))
    orders = {
        "The recommended order": (found.order, list(found.reasons)),
        "k-center": (kcenter_order(rows, n_select, seed=0).order, ["k-center"] * n_select),
        "Random": (rng.permutation(len(rows))[:n_select], ["random"] * n_select),
    }
    others = rng.permutation(len(rows))[:N_SHOWN]
    shown = np.unique(np.concatenate([others, *(picks for picks, _ in orders.values())]))
    save_figure(draw(orders, shown, lay_out(rows[shown], seed=0)), "docs/method.png")


@styled()
def draw(
    orders: dict[str, tuple[np.ndarray, list[str]]], shown: np.ndarray, places: np.ndarray
) -> Figure:
    """Draw a row of maps an order and a column a budget."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots(len(orders), len(BUDGETS))
    for line, (title, (picks, reasons)) in zip(axes, orders.items(), strict=True):
        for axis, budget in zip(line, BUDGETS, strict=True):
            axis.scatter(*places.T, s=1, color="#d8d8d8", linewidths=0, rasterized=True)
            at = places[np.searchsorted(shown, picks[:budget])]
            size = {10: 30, 100: 12, 1000: 4}[budget]
            for reason in dict.fromkeys(reasons):
                some = [named == reason for named in reasons[:budget]]
                axis.scatter(*at[some].T, s=size, color=COLORS[reason], linewidths=0, label=reason)
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
        line[0].set_ylabel(title)
    for axis, budget in zip(axes[0], BUDGETS, strict=True):
        axis.set_title(f"first {budget:,}")
    axes[0, 0].legend(loc="lower right", markerscale=1, handletextpad=0.1)
    return figure


if __name__ == "__main__":
    main()
