"""Train the same classifier on nested random subsets, one permutation a seed.

Reads   data/pool/
Writes  metrics/baseline_random/<budget>.json for each of `budgets`, data/baselines/random.csv
Params  budgets, seeds, profiles.<profile>.classifier
Paper   section 5.3, figure 2
"""

from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import check_budgets, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.jobs import run_jobs
from zeroshot_al.classifier.trainings import check_trainings_fit, random_order, score_picks
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.orders import write_seeded_orders
from zeroshot_al.process.launch import run_shared_stage


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    experiment = load_experiment()
    params = load_section("classifier", ClassifierParams)
    pool = load_pool("data/pool", needs_labels=True)
    check_budgets(experiment.budgets, pool.n_train)
    n_jobs = len(experiment.budgets) * len(experiment.seeds)
    check_trainings_fit(experiment.budgets[-1], pool.train_images.shape[1:], params, n_jobs, ranks)
    orders = {seed: random_order(pool.n_train, seed) for seed in experiment.seeds}
    code = fingerprint(params, pool.images, pool.train_labels, pool.test_labels)
    directory = checkpoint_root() / "baseline_random" / code
    cases = [(budget, seed) for budget in experiment.budgets for seed in experiment.seeds]
    jobs = [
        ("data/pool", orders[seed][:budget], params, seed, directory / f"{budget}-{seed}")
        for budget, seed in cases
    ]
    accuracies = run_jobs(score_picks, jobs, params.steps * len(jobs), "random", ranks)
    if not ranks.is_first:
        return
    by_budget: dict[int, list] = {budget: [] for budget in experiment.budgets}
    for (budget, seed), accuracy in zip(cases, accuracies, strict=True):
        by_budget[budget].append({"seed": seed, "accuracy": accuracy})
    for budget, runs in by_budget.items():
        write_json(f"metrics/baseline_random/{budget}.json", {"random": runs})
    write_seeded_orders("data/baselines/random.csv", orders, pool.ids)
    discard(directory)


if __name__ == "__main__":
    run_shared_stage(main)
