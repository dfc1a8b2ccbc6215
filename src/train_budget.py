"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/orders/moco.csv, data/orders/simclr.csv
Writes  metrics/train_budget/<budget>.json, {method: [{seed, accuracy}]}
Params  seeds, profiles.<profile>.classifier; the budget is the script's argument
Paper   section 5.3, figure 2
"""

import sys

import numpy as np

from zeroshot_al.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.classifier import ClassifierParams
from zeroshot_al.files import read_csv, write_json
from zeroshot_al.jobs import run_jobs
from zeroshot_al.params import load_experiment, load_section
from zeroshot_al.pool import check_budgets, load_pool
from zeroshot_al.stage import run_stage
from zeroshot_al.trainings import score_picks

METHODS = ("moco", "simclr")


def main(budget: int) -> None:
    """Run the stage."""
    seeds = load_experiment().seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_pool("data/pool")
    check_budgets([budget], pool.n_train)
    orders = {method: read_order(f"data/orders/{method}.csv")[:budget] for method in METHODS}
    code = fingerprint(params, pool.images, pool.train_labels, pool.test_labels, *orders.values())
    directory = checkpoint_root() / "train_budget" / code
    cases = [(method, seed) for method in METHODS for seed in seeds]
    jobs = [
        ("data/pool", orders[method], params, seed, directory / f"{method}-{seed}")
        for method, seed in cases
    ]
    accuracies = run_jobs(score_picks, jobs, params.steps * len(jobs), f"budget {budget}")
    by_method: dict[str, list] = {method: [] for method in METHODS}
    for (method, seed), accuracy in zip(cases, accuracies, strict=True):
        by_method[method].append({"seed": seed, "accuracy": accuracy})
    write_json(f"metrics/train_budget/{budget}.json", by_method)
    discard(directory)


def read_order(path: str) -> np.ndarray:
    """Return the int64 pool indices of an order, best first."""
    rows = read_csv(path, ("rank", "index", "id", "radius"))
    return np.array([int(row["index"]) for row in rows], dtype=np.int64)


if __name__ == "__main__":
    run_stage(main, int(sys.argv[1]))
