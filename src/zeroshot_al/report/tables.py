"""The results in words and tables: plain text for a terminal, Markdown for the README."""

from collections.abc import Iterable, Mapping, Sequence

from zeroshot_al.report.curves import (
    Accuracies,
    count_seeds,
    mean_and_sd,
    mean_over_budgets,
    paired_differences,
    summarise,
)
from zeroshot_al.report.methods import BASELINE, METHODS, Method, registered

LABELS = {method.name: method.label for method in METHODS}
FEATURES = {name: label.removesuffix(" + k-center") for name, label in LABELS.items()}
FEATURES |= {"pixels": "raw pixels"}


def plain_table(accuracies: Accuracies) -> str:
    """Lay out accuracy in percent by budget and method for a terminal, in ASCII."""
    methods = _methods(accuracies)
    header = ["labels", *(method.label for method in methods)]
    rows = [
        [f"{budget:,}", *(_cell(by_method.get(method.name), " +- ") for method in methods)]
        for budget, by_method in sorted(accuracies.items())
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["   ".join(map(str.rjust, row, widths)) for row in [header, *rows]]
    seeds = count_seeds(accuracies)
    of = f"mean +- standard deviation of {seeds}" if seeds != "1 seed" else seeds
    return "\n".join([f"Test accuracy in %, {of}:", "", *lines])


def compare_with_random(accuracies: Accuracies) -> list[str]:
    """Word each method's difference to random over all budgets, its 95% interval too, in points."""
    return [
        f"{LABELS[method]}: {_difference(differences)}"
        for method, differences in mean_over_budgets(accuracies).items()
    ]


def markdown_results(accuracies: Accuracies) -> str:
    """Tables of accuracy, the best mean of each row in bold, and of the paired differences."""
    seeds = count_seeds(accuracies)
    of = f"mean ± standard deviation of {seeds}" if seeds != "1 seed" else seeds
    methods = _methods(accuracies)
    others = [method for method in methods if method.name != BASELINE]
    differences = [
        [f"{budget:,}", *(_difference(found.get(method.name)) for method in others)]
        for budget, by_method in sorted(accuracies.items())
        if (found := paired_differences(by_method))
    ]
    return "\n\n".join(
        [
            f"Test accuracy in %, {of}; the best mean of each row in bold:",
            markdown_table(
                ["labels", *(method.label for method in methods)],
                [_bold_row(*item, methods) for item in sorted(accuracies.items())],
            ),
            "Difference to Random in percentage points, paired by seed and averaged over the "
            f"budgets, with Student's 95% intervals ({seeds}; each encoder was trained once, so "
            "its own spread is not in them):",
            "\n".join(f"- {line}" for line in compare_with_random(accuracies)),
            "<details><summary>The same difference at each budget</summary>",
            markdown_table(["labels", *(method.label for method in others)], differences),
            "</details>",
        ]
    )


def markdown_linear_eval(linear_eval: Mapping[str, Mapping[str, float]]) -> str:
    """Table of the linear probe's and kNN's test accuracy in percent for each kind of features.

    Parameters
    ----------
    linear_eval : mapping of str to mapping of str to float
        Fractions under "linear" and "knn", by the names in `FEATURES`.
    """
    rows = [
        [label, f"{100 * linear_eval[name]['linear']:.1f}", f"{100 * linear_eval[name]['knn']:.1f}"]
        for name, label in FEATURES.items()
        if name in linear_eval
    ]
    table = markdown_table(["frozen features", "linear layer", "kNN"], rows)
    return (
        f"Linear evaluation of the encoders, trained without labels, test accuracy in %:\n\n{table}"
    )


def _cell(runs: Mapping[int, float] | None, plus_minus: str) -> str:
    if not runs:
        return "-"
    mean, sd = mean_and_sd(runs.values())
    return f"{100 * mean:.1f}" + ("" if sd is None else f"{plus_minus}{100 * sd:.1f}")


def _methods(accuracies: Accuracies) -> list[Method]:
    """Return the methods that any budget holds: those that were active, and the baselines."""
    return registered(set().union(*accuracies.values()))


def _bold_row(
    budget: int, by_method: Mapping[str, Mapping[int, float]], methods: Sequence[Method]
) -> list[str]:
    # Compared as printed: of two cells that read the same, one alone in bold would mislead.
    means = {name: f"{100 * mean_and_sd(runs.values())[0]:.1f}" for name, runs in by_method.items()}
    best = max(means.values(), key=float)
    row = [f"{budget:,}"]
    for method in methods:
        cell = _cell(by_method.get(method.name), " ± ")
        row.append(f"**{cell}**" if means.get(method.name) == best else cell)
    return row


def _difference(differences: Mapping[int, float] | None) -> str:
    if not differences:
        return "-"
    found = summarise(differences)
    if found["sd"] is None:
        return f"{100 * found['mean']:+.2f}"
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(
        *(100 * found[key] for key in ("mean", "low", "high"))
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a table, its first column to the left and the others to the right."""
    align = [":---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, align, *rows])
