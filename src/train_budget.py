"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/{orders,zero_shot_orders}/
Writes  metrics/train_budget/<budget>.json, {method: [{seed, accuracy}]}
Params  seeds, profiles.<profile>.{classifier, order}; the budget is the script's argument
Paper   section 5.3, figure 2
"""

import sys

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import check_budgets, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.classifier.training import Training
from zeroshot_al.orders import OrderParams, read_orders
from zeroshot_al.process.launch import run_shared_stage

POOL = "data/pool"


def main(budget: int, ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    seeds = load_experiment().seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_pool(POOL, needs_labels=True)
    check_budgets([budget], pool.n_train)
    method = load_section("order", OrderParams).method
    active = read_orders(method, "data/zero_shot_orders", "data/orders", pool.train_ids)
    for path, order in active.values():
        if len(order) < budget:
            raise InputError(
                f"{path} ends after {len(order)} picks, before the budget of {budget}; make the "
                "order again, or longer by order.n_select"
            )
    trainings = {
        (name, seed): Training(tuple(order[:budget]), seed, params, POOL)
        for name, (_, order) in active.items()
        for seed in seeds
    }
    with run_trainings("train_budget", trainings, pool, f"budget {budget}", ranks) as accuracies:
        if ranks.is_first:
            runs: dict[str, list] = {method: [] for method in active}
            for (method, seed), accuracy in accuracies.items():
                runs[method].append({"seed": seed, "accuracy": accuracy})
            write_json(f"metrics/train_budget/{budget}.json", runs)


if __name__ == "__main__":
    run_shared_stage(main, int(sys.argv[1]))
