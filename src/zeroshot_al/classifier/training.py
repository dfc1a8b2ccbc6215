"""Train on picked images and score on the test images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import write_json
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import Classifier, ClassifierParams, train_classifier
from zeroshot_al.engine.checkpoint import read_saved

OnStep = Callable[[int], object]


def random_order(n_samples: int, seed: int) -> np.ndarray:
    """Return an int64 (n_samples,) permutation; its prefixes are nested random subsets."""
    return np.random.default_rng(seed).permutation(n_samples)


@dataclass(frozen=True)
class Training:
    """A classifier to train from scratch on picked images, and to score on all test images."""

    picks: tuple[int, ...]  # pool indices, in any order: the same set gives the same model
    seed: int
    params: ClassifierParams
    pool_dir: str  # a path, because a worker process maps the pool into memory for itself

    @property
    def n_steps(self) -> int:
        """Of the optimiser."""
        return self.params.steps

    @property
    def n_images(self) -> int:
        """How many images it holds in memory."""
        return len(self.picks)

    def run(self, checkpoint_dir: Path, on_step: OnStep, ranks: Ranks = ALONE) -> float:
        """Return the accuracy; arguments as of `train_classifier`, what is finished is kept."""
        finished = checkpoint_dir / "accuracy.json"
        if saved := read_saved(finished, ranks):
            on_step(self.n_steps)
            return saved["accuracy"]
        pool = load_pool(self.pool_dir)
        classifier = train_on_picks(
            pool, self.picks, self.params, self.seed, checkpoint_dir, on_step, ranks
        )
        accuracy = classifier.accuracy(pool.test_images, pool.test_labels)
        if ranks.is_first:
            write_json(finished, {"accuracy": accuracy})
        return accuracy


def train_on_picks(
    pool: Pool,
    picks: tuple[int, ...] | list[int],
    params: ClassifierParams,
    seed: int,
    checkpoint_dir: Path,
    on_step: OnStep,
    ranks: Ranks,
) -> Classifier:
    """Train from scratch on the picked images; arguments as of `train_classifier`."""
    chosen = np.sort(picks)
    return train_classifier(
        pool.train_images[chosen],
        pool.train_labels[chosen],
        len(pool.classes),
        params,
        seed,
        checkpoint_dir,
        on_step,
        ranks,
    )
