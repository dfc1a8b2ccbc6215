"""Collect every budget's accuracies into the learning curves and their paired differences.

Reads   metrics/train_budget/<budget>.json for `budgets` and `budget`,
        metrics/baseline_random/<budget>.json, metrics/baseline_coreset/<budget>.json for `budgets`
Writes  plots/learning_curves.csv, plots/learning_curves.png, metrics/by_budget/<budget>.json,
        metrics/paired_differences.json
Params  budget, budgets, profile
Paper   figure 2
"""

import shutil
from pathlib import Path

from zeroshot_al.base.files import read_json, write_csv, write_json
from zeroshot_al.base.params import load_experiment
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.curves import (
    CSV_HEADER,
    mean_and_sd,
    mean_over_budgets,
    paired_differences,
    plot_learning_curves,
    read_accuracies,
    summarise,
    to_rows,
)
from zeroshot_al.report.figures import save_figure
from zeroshot_al.report.methods import registered


def main() -> None:
    experiment = load_experiment()
    active = f"metrics/train_budget/{experiment.budget}.json"
    methods_by_stage = {
        # The active ones, which every budget's file must hold.
        "train_budget": [method.name for method in registered(read_json(active))],
        "baseline_random": ("random",),
        "baseline_coreset": ("coreset",),
    }
    accuracies = {}
    # Named one by one: a directory listing would let in a file that another budget left behind.
    for budget in sorted({*experiment.budgets, experiment.budget}):
        # The baselines are trained at `budgets` alone.
        stages = methods_by_stage if budget in experiment.budgets else ["train_budget"]
        accuracies[budget] = {}
        for stage in stages:
            accuracies[budget] |= read_accuracies(
                f"metrics/{stage}/{budget}.json", methods_by_stage[stage]
            )

    write_csv("plots/learning_curves.csv", CSV_HEADER, to_rows(accuracies))
    save_figure(plot_learning_curves(accuracies, experiment.profile), "plots/learning_curves.png")
    # DVC empties this directory too; without DVC, an earlier budget's file would stay.
    shutil.rmtree(Path("metrics/by_budget"), ignore_errors=True)
    for budget, by_method in accuracies.items():
        means = {name: round(mean_and_sd(runs.values())[0], 6) for name, runs in by_method.items()}
        write_json(f"metrics/by_budget/{budget}.json", means)
    over_budgets = {
        method: summarise(differences)
        for method, differences in mean_over_budgets(accuracies).items()
    }
    # `dvc metrics show` passes over lists: it shows the one mean a method, in the columns of the
    # accuracies, and leaves their table readable.
    write_json(
        "metrics/paired_differences.json",
        {
            **{method: summary["mean"] for method, summary in over_budgets.items()},
            "mean_over_budgets": [{"method": name, **s} for name, s in over_budgets.items()],
            "by_budget": [
                {"budget": budget, "method": method, **summarise(differences)}
                for budget, by_method in accuracies.items()
                for method, differences in paired_differences(by_method).items()
            ],
        },
    )


if __name__ == "__main__":
    run_stage(main)
