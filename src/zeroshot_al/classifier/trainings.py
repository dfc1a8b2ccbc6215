"""Train on picked images and score on the test images: one training, and one Core-Set chain."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import write_json
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import Classifier, ClassifierParams, train_classifier
from zeroshot_al.classifier.jobs import n_side_by_side
from zeroshot_al.classifier.training_pool import PartlyLabelledPool, load_training_pool
from zeroshot_al.engine.checkpoint import read_saved
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.kcenter import kcenter_order
from zeroshot_al.process.memory import check_memory, images_text

OnStep = Callable[[int], object]


def random_order(n_samples: int, seed: int) -> np.ndarray:
    """Return an int64 (n_samples,) permutation; its prefixes are nested random subsets."""
    return np.random.default_rng(seed).permutation(n_samples)


def check_trainings_fit(
    n_images: int,
    shape: tuple[int, ...],
    params: ClassifierParams,
    n_jobs: int,
    ranks: Ranks = ALONE,
) -> None:
    """Check that there is memory for the images of all trainings that run at once.

    Parameters
    ----------
    n_images : int
        Of the largest training.
    shape : tuple of int
        (height, width, 3).
    params : ClassifierParams
    n_jobs : int
    ranks : Ranks
        Who share the trainings.

    Raises
    ------
    InputError
        With both figures.
    """
    height, width = (side + 2 * params.pad_px for side in shape[:2])
    n_bytes = n_images * 3 * (shape[0] * shape[1] + height * width)  # as they are, and padded
    n = n_side_by_side(n_jobs, ranks)
    what = f"training on {images_text(n_images, shape)}, {n} at once,"
    check_memory(
        n * n_bytes, what, "lower data.size_px or the budgets in params.yaml or give more memory",
        pick_device(),
    )  # fmt: skip


def score_picks(
    pool_dir: str, picks: np.ndarray, params: ClassifierParams, seed: int,
    checkpoint_dir: Path, on_step: OnStep, ranks: Ranks = ALONE, labels_dir: str | None = None,
) -> float:  # fmt: skip
    """Train from scratch on the picked images and return the accuracy on all test images.

    Parameters
    ----------
    pool_dir
        A path, because a worker process maps the pool into memory for itself.
    picks
        int64 (budget,) pool indices. Their order does not matter: they are sorted, so that the
        same set gives the same model.
    params, seed, checkpoint_dir, on_step, ranks
        As for `train_classifier`. A finished training is not repeated.
    labels_dir
        As for `load_training_pool`: where the labels are of a pool that has none.
    """
    finished = checkpoint_dir / "accuracy.json"
    if saved := read_saved(finished, ranks):
        on_step(params.steps)
        return saved["accuracy"]
    pool = load_training_pool(pool_dir, labels_dir)
    classifier = _train(pool, picks, params, seed, checkpoint_dir, on_step, ranks)
    accuracy = classifier.accuracy(pool.test_images, pool.test_labels)
    if ranks.is_first:
        write_json(finished, {"accuracy": accuracy})
    return accuracy


def coreset_chain(
    pool_dir: str, budgets: Sequence[int], params: ClassifierParams, seed: int,
    checkpoint_dir: Path, on_step: OnStep, ranks: Ranks = ALONE,
) -> tuple[list[int], list[float]]:  # fmt: skip
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
        classifier = _train(
            pool, np.array(picks), params, seed, checkpoint_dir / str(turn), on_step, ranks
        )
        accuracies.append(classifier.accuracy(pool.test_images, pool.test_labels))
        if turn + 1 < len(budgets):
            extension = kcenter_order(
                classifier.embed(pool.train_images), budgets[turn + 1] - len(picks),
                initial_indices=picks, ranks=ranks,
            )  # fmt: skip
            picks.extend(extension.order.tolist())
        if ranks.is_first:
            write_json(state_file, {"picks": picks, "accuracies": accuracies})
    return picks, accuracies


def _train(
    pool: Pool | PartlyLabelledPool, picks: np.ndarray, params: ClassifierParams, seed: int,
    checkpoint_dir: Path, on_step: OnStep, ranks: Ranks,
) -> Classifier:  # fmt: skip
    picks = np.sort(picks)
    return train_classifier(
        pool.train_images[picks], pool.train_labels[picks], len(pool.classes), params, seed,
        checkpoint_dir, on_step, ranks,
    )  # fmt: skip
