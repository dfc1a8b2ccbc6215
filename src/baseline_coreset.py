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
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.methods.coreset import CoresetChain
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
    chains = {seed: CoresetChain(budgets, seed, params, POOL) for seed in seeds}
    with run_trainings("baseline_coreset", chains, pool, "core-set", ranks) as results:
        if ranks.is_first:
            for turn, budget in enumerate(budgets):
                runs = [{"seed": seed, "accuracy": results[seed][1][turn]} for seed in seeds]
                write_json(f"metrics/baseline_coreset/{budget}.json", {"coreset": runs})
            orders = {seed: picks for seed, (picks, _) in results.items()}
            write_seeded_orders("data/baselines/coreset.csv", orders, pool.ids)


if __name__ == "__main__":
    run_shared_stage(main)
