"""Iterative Core-Set: train, embed the pool by the model, extend by k-center, and again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import write_json
from zeroshot_al.base.pool import load_pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.trainings import OnStep, random_order, train_on_picks
from zeroshot_al.engine.checkpoint import read_saved
from zeroshot_al.kcenter import kcenter_order


def coreset_chain(
    pool_dir: str,
    budgets: Sequence[int],
    params: ClassifierParams,
    seed: int,
    checkpoint_dir: Path,
    on_step: OnStep,
    ranks: Ranks = ALONE,
) -> tuple[list[int], list[float]]:
    """Run iterative Core-Set: train, embed the pool by the model, extend by k-center, again.

    Parameters
    ----------
    pool_dir, params, seed, checkpoint_dir, on_step, ranks
        As for `score_picks`; a chain continues at the round that was interrupted.
    budgets
        Increasing; the first batch is the random baseline's of the same seed.

    Returns
    -------
    picks : list of int
        Pool indices in the order of selection, ``max(budgets)`` of them.
    accuracies : list of float
        Test accuracy at each budget.

    References
    ----------
    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
    2018, algorithm 1, with the pre-final layer as features. Each round trains from scratch.
    """
    pool = load_pool(pool_dir)
    state_file = checkpoint_dir / "chain.json"
    if state := read_saved(state_file, ranks):
        picks, accuracies = state["picks"], state["accuracies"]
        on_step(params.steps * len(accuracies))
    else:
        picks, accuracies = random_order(pool.n_train, seed)[: budgets[0]].tolist(), []
    for turn in range(len(accuracies), len(budgets)):
        classifier = train_on_picks(
            pool, np.array(picks), params, seed, checkpoint_dir / str(turn), on_step, ranks
        )
        accuracies.append(classifier.accuracy(pool.test_images, pool.test_labels))
        if turn + 1 < len(budgets):
            extension = kcenter_order(
                classifier.embed(pool.train_images),
                budgets[turn + 1] - len(picks),
                initial_indices=picks,
                ranks=ranks,
            )
            picks.extend(extension.order.tolist())
        if ranks.is_first:
            write_json(state_file, {"picks": picks, "accuracies": accuracies})
    return picks, accuracies
