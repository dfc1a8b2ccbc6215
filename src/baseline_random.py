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
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.classifier.training import Training, random_order
from zeroshot_al.orders import write_seeded_orders
from zeroshot_al.process.launch import run_shared_stage

POOL = "data/pool"


def main(ranks: Ranks) -> None:
    """Run the stage on one of the ranks, of which the first writes the files."""
    experiment = load_experiment()
    budgets, seeds = experiment.budgets, experiment.seeds
    params = load_section("classifier", ClassifierParams)
    pool = load_pool(POOL, needs_labels=True)
    check_budgets(budgets, pool.n_train)
    orders = {seed: random_order(pool.n_train, seed) for seed in seeds}
    trainings = {
        (budget, seed): Training(tuple(orders[seed][:budget].tolist()), seed, params, POOL)
        for budget in budgets
        for seed in seeds
    }
    with run_trainings("baseline_random", trainings, pool, "random", ranks) as accuracies:
        if ranks.is_first:
            for budget in budgets:
                runs = [{"seed": seed, "accuracy": accuracies[budget, seed]} for seed in seeds]
                write_json(f"metrics/baseline_random/{budget}.json", {"random": runs})
            write_seeded_orders("data/baselines/random.csv", orders, pool.ids)


if __name__ == "__main__":
    run_shared_stage(main)
