"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/orders/moco.csv, data/orders/simclr.csv
Writes  metrics/train_budget/<budget>.json, {method: [{seed, accuracy}]}
Params  seeds, profiles.<profile>.classifier; the budget is the script's argument
Paper   section 5.3, figure 2
"""

import sys
from collections.abc import Sequence

import numpy as np

from zeroshot_al.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.classifier import ClassifierParams
from zeroshot_al.errors import InputError
from zeroshot_al.files import write_json
from zeroshot_al.jobs import run_jobs
from zeroshot_al.orders import ZERO_SHOT, read_picks
from zeroshot_al.params import load_experiment, load_section
from zeroshot_al.pool import check_budgets, load_pool
from zeroshot_al.stage import run_stage
from zeroshot_al.trainings import score_picks


def main(budget: int) -> None:
    """Run the stage."""
    seeds = load_experiment().seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_pool("data/pool", needs_labels=True)
    check_budgets([budget], pool.n_train)
    orders = {method: first_picks(method, budget, pool.train_ids) for method in ZERO_SHOT}
    code = fingerprint(params, pool.images, pool.train_labels, pool.test_labels, *orders.values())
    directory = checkpoint_root() / "train_budget" / code
    cases = [(method, seed) for method in ZERO_SHOT for seed in seeds]
    jobs = [
        ("data/pool", orders[method], params, seed, directory / f"{method}-{seed}")
        for method, seed in cases
    ]
    accuracies = run_jobs(score_picks, jobs, params.steps * len(jobs), f"budget {budget}")
    by_method: dict[str, list] = {method: [] for method in ZERO_SHOT}
    for (method, seed), accuracy in zip(cases, accuracies, strict=True):
        by_method[method].append({"seed": seed, "accuracy": accuracy})
    write_json(f"metrics/train_budget/{budget}.json", by_method)
    discard(directory)


def first_picks(method: str, budget: int, ids: Sequence[str]) -> np.ndarray:
    """Return the int64 (budget,) pool indices that a method's order begins with."""
    path = f"data/orders/{method}.csv"
    picks = read_picks(path, method, ids)[0]
    if len(picks) < budget:
        raise InputError(
            f"{path} ends after {len(picks)} picks, before the budget of {budget}; "
            "run kcenter_order anew"
        )
    return np.array(picks[:budget], dtype=np.int64)


if __name__ == "__main__":
    run_stage(main, int(sys.argv[1]))
