"""Train on picked images and score on the test images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import write_json
from zeroshot_al.base.pool import Pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import Classifier, ClassifierParams, train_classifier
from zeroshot_al.classifier.jobs import n_side_by_side
from zeroshot_al.classifier.training_pool import PartlyLabelledPool, load_training_pool
from zeroshot_al.engine.checkpoint import read_saved
from zeroshot_al.engine.runtime import pick_device
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
        n * n_bytes,
        what,
        "lower data.size_px or the budgets in params.yaml or give more memory",
        pick_device(),
    )


def score_picks(
    pool_dir: str,
    picks: np.ndarray,
    params: ClassifierParams,
    seed: int,
    checkpoint_dir: Path,
    on_step: OnStep,
    ranks: Ranks = ALONE,
    labels_dir: str | None = None,
) -> float:
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
    classifier = train_on_picks(pool, picks, params, seed, checkpoint_dir, on_step, ranks)
    accuracy = classifier.accuracy(pool.test_images, pool.test_labels)
    if ranks.is_first:
        write_json(finished, {"accuracy": accuracy})
    return accuracy


def train_on_picks(
    pool: Pool | PartlyLabelledPool,
    picks: np.ndarray,
    params: ClassifierParams,
    seed: int,
    checkpoint_dir: Path,
    on_step: OnStep,
    ranks: Ranks,
) -> Classifier:
    """Train from scratch on the picked images; arguments as of `score_picks`."""
    picks = np.sort(picks)
    return train_classifier(
        pool.train_images[picks],
        pool.train_labels[picks],
        len(pool.classes),
        params,
        seed,
        checkpoint_dir,
        on_step,
        ranks,
    )
