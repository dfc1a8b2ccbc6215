"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/{orders,zero_shot_orders}/; data/labels/ if the pool has no own labels
Writes  metrics/train_budget/<budget>.json, {method: [{seed, accuracy}]}; of labels that were
        brought also trained_on and tested_on, and no run of a method whose picks lack a label
Params  seeds, profiles.<profile>.{classifier, order}; the budget is the script's argument
Paper   section 5.3, figure 2
"""

import logging
import sys

from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.labelled_pool import PartlyLabelledPool, first_picks, load_labelled_pool
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.classifier.training import Training
from zeroshot_al.orders import OrderParams, read_orders
from zeroshot_al.process.launch import run_shared_stage

POOL, LABELS = "data/pool", "data/labels"


def main(budget: int, ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    seeds = load_experiment().seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_labelled_pool(POOL, LABELS)
    method = load_section("order", OrderParams).method
    active = read_orders(method, "data/zero_shot_orders", "data/orders", pool.train_ids)
    picks = {
        name: tuple(found.tolist())
        for name, (path, order) in active.items()
        if (found := first_picks(pool, order, budget, str(path))) is not None
    }
    trainings = {
        (method, seed): Training(picks[method], seed, params, POOL, LABELS)
        for method in picks
        for seed in seeds
    }
    with run_trainings("train_budget", trainings, pool, f"budget {budget}", ranks) as accuracies:
        if ranks.is_first:
            runs: dict[str, list] = {method: [] for method in active}
            for (method, seed), accuracy in accuracies.items():
                run = {"seed": seed, "accuracy": accuracy}
                if isinstance(pool, PartlyLabelledPool):
                    run |= {"trained_on": len(picks[method]), "tested_on": pool.tested_on}
                    said = f"trained on {run['trained_on']} labels, tested on {pool.tested_on}"
                    logging.info(
                        f"budget {budget}, {method}, seed {seed}: {accuracy:.1%} right, {said}"
                    )
                runs[method].append(run)
            write_json(f"metrics/train_budget/{budget}.json", runs)


if __name__ == "__main__":
    run_shared_stage(main, int(sys.argv[1]))
