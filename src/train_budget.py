"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/orders/<method>.csv; data/labels/ if the pool has no labels of its own
Writes  metrics/train_budget/<budget>.json, {method: [{seed, accuracy}]}; of labels that were
        brought also trained_on and tested_on, and no run of a method whose picks lack a label
Params  seeds, profiles.<profile>.classifier; the budget is the script's argument
Paper   section 5.3, figure 2
"""

import logging
import sys
from functools import partial

from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.jobs import run_jobs
from zeroshot_al.classifier.training_pool import PartlyLabelledPool, first_picks, load_training_pool
from zeroshot_al.classifier.trainings import check_trainings_fit, score_picks
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.orders import read_zero_shot_orders
from zeroshot_al.process.launch import run_shared_stage

LABELS = "data/labels"


def main(budget: int, ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    seeds = load_experiment().seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_training_pool("data/pool", LABELS)
    active = read_zero_shot_orders("data/orders", pool.train_ids)
    orders = {
        method: picks
        for method, order in active.items()
        if (picks := first_picks(pool, order, budget, f"data/orders/{method}.csv")) is not None
    }
    n_jobs = len(orders) * len(seeds)
    check_trainings_fit(budget, pool.train_images.shape[1:], params, n_jobs, ranks)
    code = fingerprint(
        params,
        pool.train_images,
        pool.train_labels,
        pool.test_images,
        pool.test_labels,
        *orders.values(),
    )
    directory = checkpoint_root() / "train_budget" / code
    cases = [(method, seed) for method in orders for seed in seeds]
    jobs = [
        ("data/pool", orders[method], params, seed, directory / f"{method}-{seed}")
        for method, seed in cases
    ]
    score = partial(score_picks, labels_dir=LABELS)
    accuracies = run_jobs(score, jobs, params.steps * len(jobs), f"budget {budget}", ranks)
    if not ranks.is_first:
        return
    by_method: dict[str, list] = {method: [] for method in active}
    for (method, seed), accuracy in zip(cases, accuracies, strict=True):
        run = {"seed": seed, "accuracy": accuracy}
        if isinstance(pool, PartlyLabelledPool):
            run |= {"trained_on": len(orders[method]), "tested_on": pool.tested_on}
            logging.info(
                "budget %d, %s, seed %d: %.1f%% right, trained on %d labels, tested on %s",
                budget,
                method,
                seed,
                100 * accuracy,
                len(orders[method]),
                pool.tested_on,
            )
        by_method[method].append(run)
    write_json(f"metrics/train_budget/{budget}.json", by_method)
    discard(directory)


if __name__ == "__main__":
    run_shared_stage(main, int(sys.argv[1]))
