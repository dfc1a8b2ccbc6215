"""Train the classifier on the first `budget` images of each order, for every seed.

Reads   data/pool/, data/orders/{moco,simclr,pretrained}.csv; a header alone: method not active
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
    firsts = {method: first_picks(method, budget, pool.train_ids) for method in ZERO_SHOT}
    orders = {method: picks for method, picks in firsts.items() if picks is not None}
    if not orders:
        raise InputError("none of the orders in data/orders holds a pick; run kcenter_order")
    code = fingerprint(params, pool.images, pool.train_labels, pool.test_labels, *orders.values())
    directory = checkpoint_root() / "train_budget" / code
    cases = [(method, seed) for method in orders for seed in seeds]
    jobs = [
        ("data/pool", orders[method], params, seed, directory / f"{method}-{seed}")
        for method, seed in cases
    ]
    accuracies = run_jobs(score_picks, jobs, params.steps * len(jobs), f"budget {budget}")
    by_method: dict[str, list] = {method: [] for method in orders}
    for (method, seed), accuracy in zip(cases, accuracies, strict=True):
        by_method[method].append({"seed": seed, "accuracy": accuracy})
    write_json(f"metrics/train_budget/{budget}.json", by_method)
    discard(directory)


def first_picks(method: str, budget: int, ids: Sequence[str]) -> np.ndarray | None:
    """Return the int64 (budget,) pool indices that a method's order begins with, if it has one."""
    path = f"data/orders/{method}.csv"
    picks = read_picks(path, method, ids).get(0)
    if picks is None:
        return None
    if len(picks) < budget:
        raise InputError(
            f"{path} ends after {len(picks)} picks, before the budget of {budget}; "
            "run kcenter_order anew"
        )
    return np.array(picks[:budget], dtype=np.int64)


if __name__ == "__main__":
    run_stage(main, int(sys.argv[1]))
