"""Iterative Core-Set: train, embed the pool by the model, extend by k-center, and again."""

from dataclasses import dataclass
from pathlib import Path

from zeroshot_al.base.files import write_json
from zeroshot_al.base.pool import load_pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.training import OnStep, random_order, train_on_picks
from zeroshot_al.engine.checkpoint import read_saved
from zeroshot_al.kcenter import kcenter_order


@dataclass(frozen=True)
class CoresetChain:
    """Rounds of training, embedding the pool by the model and extending by k-center.

    The budgets increase; the first batch is the random baseline's of the same seed.

    References
    ----------
    Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
    2018, algorithm 1, with the pre-final layer as features. Each round trains from scratch.
    """

    budgets: tuple[int, ...]
    seed: int
    params: ClassifierParams
    pool_dir: str

    @property
    def n_steps(self) -> int:
        """Of the optimiser, in all rounds."""
        return self.params.steps * len(self.budgets)

    @property
    def n_images(self) -> int:
        """How many images it holds in memory, at most."""
        return self.budgets[-1]

    def run(
        self, checkpoint_dir: Path, on_step: OnStep, ranks: Ranks = ALONE
    ) -> tuple[list[int], list[float]]:
        """Run the chain, or continue it at the round that was interrupted.

        Arguments as of `train_classifier`.

        Returns
        -------
        picks : list of int
            Pool indices in the order of selection, ``max(budgets)`` of them.
        accuracies : list of float
            Test accuracy at each budget.
        """
        pool = load_pool(self.pool_dir)
        state_file = checkpoint_dir / "chain.json"
        if state := read_saved(state_file, ranks):
            picks, accuracies = state["picks"], state["accuracies"]
            on_step(self.params.steps * len(accuracies))
        else:
            picks = random_order(pool.n_train, self.seed)[: self.budgets[0]].tolist()
            accuracies = []
        for turn in range(len(accuracies), len(self.budgets)):
            directory = checkpoint_dir / str(turn)
            classifier = train_on_picks(
                pool, picks, self.params, self.seed, directory, on_step, ranks
            )
            accuracies.append(classifier.accuracy(pool.test_images, pool.test_labels))
            if turn + 1 < len(self.budgets):
                extension = kcenter_order(
                    classifier.embed(pool.train_images),
                    self.budgets[turn + 1] - len(picks),
                    initial_indices=picks,
                    ranks=ranks,
                )
                picks.extend(extension.order.tolist())
            if ranks.is_first:
                write_json(state_file, {"picks": picks, "accuracies": accuracies})
        return picks, accuracies
