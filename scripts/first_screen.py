"""README's first screen of results: a figure, a verdict on either half, a table and the scale.

Of one encoder, the one whose recommended order classifiers were trained on.
"""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.params import build, merge
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.classifier_models import make_model
from zeroshot_al.report.curves import (
    Accuracies,
    count_seeds,
    mean_and_sd,
    mean_over_budgets,
    paired_differences,
    summarise,
)
from zeroshot_al.report.figures import styled
from zeroshot_al.report.labels_saved import Row
from zeroshot_al.report.methods import BASELINE, registered
from zeroshot_al.report.tables import FEATURES, markdown_table
from zeroshot_al.selfsup.encoders import Encoder, EncoderParams

FEW, MANY = (20, 50, 100, 400), (5000, 10_000, 25_000)
LABELS = 100  # whose worth the verdict states
ORDERS = {"zero_shot": "the recommended order", "kcenter": "k-center"}
CORESET = "coreset"  # the baseline that is not zero-shot
PAPERS_LINEAR = 93.6  # %, of the paper's SimCLR

Few = Mapping[str, Mapping[int, Row]]
"""By order and budget, of a linear head on the features that chose."""


def choose_encoder(accuracies: Accuracies, rows: Sequence[Row]) -> tuple[str, Few]:
    """Name the encoder, and pick its rows of plots/probe_curves.csv.

    Raises
    ------
    InputError
        If the results lack what the first screen shows.
    """
    methods = set().union(*accuracies.values())
    encoder = next((name for name in FEATURES if f"{name}_zero_shot" in methods), None)
    few: dict[str, dict[int, Row]] = {}
    for row in rows:
        if (row.encoder, row.features, row.head, row.pool) == (encoder, encoder, "linear", "pool"):
            few.setdefault(row.order, {})[row.budget] = row
    shown = [few.get(order, {}).get(budget) for order in ORDERS for budget in FEW]
    if (
        not {encoder, BASELINE} <= methods
        or not all(row and row.n_resamples > 1 for row in shown)
        or count_seeds(accuracies).startswith("1 ")
    ):
        raise InputError(
            "README shows the recommended order, k-center of its features and random, of two seeds "
            f"or more, and {FEW} labels for a linear head, of two pools or more; the results lack "
            "some of it: run `dvc repro` with the params of profile laptop"
        )
    return encoder, few


def first_screen(accuracies: Accuracies, encoder: str, few: Few) -> str:
    """Word the verdicts, by the budgets whose interval leaves Random out, and lay out the table."""
    worth, spent = [], []
    for order, name in ORDERS.items():
        row = few[order][LABELS]
        sides = _sides([(row.low, row.high) for row in few[order].values()], level=1)
        worth.append(
            f"{LABELS} labels of {name} do what {LABELS * row.labels_saved:.0f} random ones do "
            f"({LABELS * row.low:.0f} to {LABELS * row.high:.0f}), and it is {sides}"
        )
    methods = {_method(encoder, order): name for order, name in ORDERS.items()}
    means = mean_over_budgets(accuracies)
    for method, name in (methods | {CORESET: "Core-Set, which trains between its rounds,"}).items():
        pairs = [paired_differences(by_method).get(method) for by_method in accuracies.values()]
        found = [summarise(pair) for pair in pairs if pair]
        if not found:
            continue
        sides = _sides([(at["low"], at["high"]) for at in found], level=0)
        mean = summarise(means[method])
        spent.append(f"{name} is {_points(mean['mean'])} points {_interval(mean)}, and {sides}")
    budgets = f"{min(accuracies):,} to {max(accuracies):,} labels"
    return "\n\n".join(
        [
            f"**Few labels and a linear head** on frozen features ({FEATURES[encoder]}, "
            f"{min(few[BASELINE])} to {max(few[BASELINE]):,} labels): {'; '.join(worth)}.",
            f"**A network from scratch**, difference to Random from {budgets}: {'; '.join(spent)}.",
            markdown_table(
                ["labels", "spent on", "Random, %", "k-center (the paper's)", "recommended order"],
                [*_few_lines(few), *_many_lines(accuracies, encoder)],
            ),
            "Test accuracy; differences to Random in points, bold above it. In brackets 95% "
            f"intervals: of the points ({count_seeds(accuracies)}, one encoder), or with a linear "
            "head of how many random labels do the same "
            f"({few[BASELINE][LABELS].n_resamples} pools).",
        ]
    )


def spread(rows: Sequence[Row]) -> str:
    """Say how far from random a linear head ends, at the worst and at the best, in a sentence."""
    own = [row for row in rows if row.head == "linear" and row.features == row.encoder]
    ends = []
    for order, name in ORDERS.items():
        found = [row.difference for row in own if row.order == order]
        ends.append(f"{name} {_points(min(found))} to {_points(max(found))}")
    features = " and ".join(FEATURES[name] for name in dict.fromkeys(row.encoder for row in own))
    return (
        f"{features}, a linear head, over all budgets and pools (a long tail and coarse classes "
        f"too; [figure](plots/probe_curves.png)), points to Random: {', '.join(ends)}."
    )


def scale(params: Mapping, simclr_linear: float) -> str:
    """Compare the active profile of params.yaml with the paper's, in a sentence.

    Parameters
    ----------
    params : mapping
        What params.yaml holds.
    simclr_linear : float
        Linear accuracy of SimCLR's features, a fraction.
    """
    (networks, images, encoders), (paper_networks, paper_images, paper_encoders) = (
        _sizes(params, profile) for profile in (params["profile"], "paper")
    )
    return (
        f"The scale: networks of {networks:.2g} million parameters that see {images:.2g} million "
        f"images (profile `paper`: {paper_networks:.2g} and {paper_images:.2g}), and SimCLR of "
        f"{encoders:.2g} million (`paper`: {paper_encoders:.2g}) with {100 * simclr_linear:.1f}% "
        f"linear accuracy, where the paper reports {PAPERS_LINEAR}%."
    )


@styled()
def plot_first_screen(accuracies: Accuracies, encoder: str, few: Few) -> Figure:
    """Draw labels saved with a linear head beside accuracy from scratch."""
    figure = Figure(figsize=(8.3, 3.6))
    left, right = figure.subplots(1, 2)
    names = {_method(encoder, order): order for order in reversed(ORDERS)}
    for method in registered({*names, BASELINE, CORESET} & set().union(*accuracies.values())):
        style = {"color": method.color, "linestyle": method.dashes, "linewidth": 2}
        marked = style | {"marker": method.marker, "markersize": 5}
        band = {"color": method.color, "alpha": 0.15, "linewidth": 0}
        budgets = [budget for budget in sorted(accuracies) if method.name in accuracies[budget]]
        found = [mean_and_sd(accuracies[budget][method.name].values()) for budget in budgets]
        label = ORDERS.get(names.get(method.name), method.label)
        right.plot(budgets, [100 * mean for mean, _ in found], label=label, **marked)
        bounds = ([100 * (mean + side * (sd or 0)) for mean, sd in found] for side in (-1, 1))
        right.fill_between(budgets, *bounds, **band)
        if method.name == BASELINE:
            left.axhline(1, **style)
        elif method.name in names:
            rows = list(few[names[method.name]].values())
            budgets = [row.budget for row in rows]
            left.plot(budgets, [row.labels_saved for row in rows], **marked)
            left.fill_between(budgets, [r.low for r in rows], [r.high for r in rows], **band)
    left.set(xlabel="labels", ylabel="random labels that one is worth", xscale="log")
    left.set_yscale("log", base=2)
    left.minorticks_off()
    left.set_title("Few labels, a linear head")
    right.set(xlabel="labels", ylabel="test accuracy in %")
    right.set_title("A network from scratch")
    right.set_xticks(MANY)
    for scale_of in (left.xaxis, left.yaxis, right.xaxis):
        scale_of.set_major_formatter(StrMethodFormatter("{x:,g}"))
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _few_lines(few: Few) -> list[list[str]]:
    lines = []
    for budget in FEW:
        line = [f"{budget}", "a linear head", f"{100 * few[BASELINE][budget].accuracy:.1f}"]
        for order in reversed(ORDERS):
            row = few[order][budget]
            points = _bold(_points(row.difference), row.low > 1)
            line.append(f"{points} (like {budget * row.low:,.0f} to {budget * row.high:,.0f})")
        lines.append(line)
    return lines


def _many_lines(accuracies: Accuracies, encoder: str) -> list[list[str]]:
    lines = []
    for budget in (budget for budget in MANY if budget in accuracies):
        random, _ = mean_and_sd(accuracies[budget][BASELINE].values())
        line = [f"{budget:,}", "a network", f"{100 * random:.1f}"]
        pairs = paired_differences(accuracies[budget])
        for order in reversed(ORDERS):
            found = summarise(pairs[_method(encoder, order)])
            line.append(f"{_bold(_points(found['mean']), found['low'] > 0)} {_interval(found)}")
        lines.append(line)
    return lines


def _method(encoder: str, order: str) -> str:
    return encoder if order == "kcenter" else f"{encoder}_{order}"


def _sides(intervals: Sequence[tuple[float, float]], level: float) -> str:
    above = sum(low > level for low, _ in intervals)
    below = sum(high < level for _, high in intervals)
    return f"above Random at {above} of {len(intervals)} budgets, below at {below}"


def _points(fraction: float) -> str:
    return f"{round(100 * fraction, 1) + 0:+.1f}"  # + 0: no -0.0


def _interval(found: Mapping[str, float]) -> str:
    return f"({_points(found['low'])} to {_points(found['high'])})"


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _sizes(params: Mapping, profile: str) -> tuple[float, float, float]:
    """Return a classifier's parameters, the images it sees and an encoder's, in millions."""
    found = params["profiles"][profile]
    held = {name: merge(values, found.get(name, {})) for name, values in params["defaults"].items()}
    where = f"profiles.{profile} of params.yaml"
    spent = build(ClassifierParams, held["classifier"], where)
    with torch.device("meta"):  # counted, never filled
        model = make_model(
            *(spent.name, spent.depth, spent.width, spent.stem_stride),
            n_classes=10,
            size_px=spent.crop_px,
            whitening=spent.whitening,
        )
        encoder = Encoder(build(EncoderParams, held["encoder"], where))
    sizes = [sum(weights.numel() for weights in net.parameters()) for net in (model, encoder)]
    return sizes[0] / 1e6, spent.steps * spent.batch_size / 1e6, sizes[1] / 1e6
