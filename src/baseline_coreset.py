"""Run the iterative Core-Set: a random first batch, then train, embed, extend, train again.

Reads   data/pool/
Writes  metrics/baseline_coreset/<budget>.json for each of `budgets`, data/baselines/coreset.csv
Params  budgets, seeds, profiles.<profile>.classifier
Paper   section 5.3, figure 2
"""

from zeroshot_al.base.files import write_json
from zeroshot_al.base.params import load_experiment, load_section
from zeroshot_al.base.pool import check_budgets, load_pool
from zeroshot_al.base.ranks import Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.jobs import run_jobs
from zeroshot_al.classifier.trainings import check_trainings_fit
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.methods.coreset import coreset_chain
from zeroshot_al.orders import write_seeded_orders
from zeroshot_al.process.launch import run_shared_stage


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    experiment = load_experiment()
    budgets, seeds = experiment.budgets, experiment.seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_pool("data/pool", needs_labels=True)
    check_budgets(budgets, pool.n_train)
    check_trainings_fit(budgets[-1], pool.train_images.shape[1:], params, len(seeds), ranks)
    code = fingerprint(params, budgets, pool.images, pool.train_labels, pool.test_labels)
    directory = checkpoint_root() / "baseline_coreset" / code
    jobs = [("data/pool", budgets, params, seed, directory / str(seed)) for seed in seeds]
    n_steps = params.steps * len(budgets) * len(seeds)
    done = run_jobs(coreset_chain, jobs, n_steps, "core-set", ranks)
    if not ranks.is_first:
        return
    chains = dict(zip(seeds, done, strict=True))
    for position, budget in enumerate(budgets):
        runs = [
            {"seed": seed, "accuracy": accuracies[position]}
            for seed, (_, accuracies) in chains.items()
        ]
        write_json(f"metrics/baseline_coreset/{budget}.json", {"coreset": runs})
    orders = {seed: picks for seed, (picks, _) in chains.items()}
    write_seeded_orders("data/baselines/coreset.csv", orders, pool.ids)
    discard(directory)


if __name__ == "__main__":
    run_shared_stage(main)
