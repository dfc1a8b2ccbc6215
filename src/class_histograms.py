"""How often each class is among the first `budget` picks, for each method.

Reads   data/pool/index.csv, data/{orders,zero_shot_orders}/, data/baselines/{random,coreset}.csv
Writes  plots/class_histograms.csv, plots/class_histograms.png, metrics/class_imbalance.json
Params  budget, seeds, profiles.<profile>.order
Paper   figures 3 and 4
"""

import logging

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_csv, write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.orders import OrderParams, read_orders, read_seeded_orders
from zeroshot_al.process.stage import run_stage
from zeroshot_al.report.figures import save_figure
from zeroshot_al.report.histograms import (
    class_counts,
    class_names,
    imbalance,
    plot_class_histograms,
    read_pool_labels,
)
from zeroshot_al.report.methods import registered


def main() -> None:
    experiment = load_experiment()
    budget = experiment.budget
    ids, labels = read_pool_labels("data/pool/index.csv")
    if budget > len(ids):
        raise InputError(
            f"budget {budget} exceeds the pool of {len(ids)} in data/pool/index.csv; lower it in "
            "params.yaml, or run download again if there were more"
        )
    classes = class_names(labels)
    method = load_section("order", OrderParams).method
    zero_shot = read_orders(method, "data/zero_shot_orders", "data/orders", ids)
    orders = {name: [picks] for name, (_, picks) in zero_shot.items()}
    for method in ("random", "coreset"):
        path = f"data/baselines/{method}.csv"
        by_seed = read_seeded_orders(path, ids)
        if list(by_seed) != list(experiment.seeds):
            raise InputError(
                f"{path} holds orders of the seeds {list(by_seed)} instead of "
                f"{list(experiment.seeds)}; run the stage that writes it again"
            )
        orders[method] = list(by_seed.values())
    counts = {}
    for method in registered(orders):
        reach = min(map(len, orders[method.name]))
        # Core-Set trains as it picks and stops at the largest of budgets. A larger budget is
        # still worth a look at the others, so its panel is left out rather than the stage.
        if method.name == "coreset" and budget > reach:
            logging.warning("coreset's order does not reach %d; its panel is left out", budget)
            counts[method.name] = None
        elif budget > reach:
            raise InputError(
                f"budget {budget} exceeds the {reach} picks of {method.name}'s order; lower it "
                "in params.yaml, or make the order again if it was longer"
            )
        else:
            counts[method.name] = class_counts(orders[method.name], labels, budget)
    present = {name: found for name, found in counts.items() if found is not None}

    rows = [
        (name, class_name, round(float(column.mean()), 3), column.min(), column.max())
        for name, found in present.items()
        for class_name, column in zip(classes, found.T, strict=True)
    ]
    write_csv("plots/class_histograms.csv", ["method", "class", "count", "min", "max"], rows)
    save_figure(plot_class_histograms(counts, classes, budget), "plots/class_histograms.png")
    write_json(
        "metrics/class_imbalance.json",
        {name: round(imbalance(found), 4) for name, found in present.items()},
    )


if __name__ == "__main__":
    run_stage(main)
