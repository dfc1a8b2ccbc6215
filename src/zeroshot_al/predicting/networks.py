"""Networks in place of a head: the encoder fine-tuned, or a classifier from scratch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from zeroshot_al.base.files import read_npy, write_npy
from zeroshot_al.base.pool import Pool, load_pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import Classifier, ClassifierParams, train_classifier
from zeroshot_al.classifier.classifier_models import FeaturesAndHead
from zeroshot_al.classifier.side_by_side import run_trainings
from zeroshot_al.classifier.training import OnStep
from zeroshot_al.engine.checkpoint import write_tensors
from zeroshot_al.predicting.head import fit_head
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.saved import EncoderUsed, classifier_tensors, finetuned_network
from zeroshot_al.probing.heads import centred

FINAL = -1  # the key of the training on all labels, beside those of the folds


@dataclass(frozen=True)
class LabelTraining:
    """A network to train on some labels, and the images whose logits are wanted."""

    indices: tuple[int, ...]  # of the pool
    codes: tuple[int, ...]
    n_classes: int
    wanted: tuple[int, ...]  # of the pool; none of the training whose weights are wanted
    seed: int
    params: ClassifierParams
    encoder: EncoderUsed | None  # to go on from; None: from scratch
    strength: float  # of the head that an encoder's linear layer starts as
    pool_dir: str
    models_dir: str

    @property
    def n_steps(self) -> int:
        """Of the optimiser."""
        return self.params.steps

    @property
    def n_images(self) -> int:
        """How many images it holds in memory."""
        return len(self.indices)

    def run(self, checkpoint_dir: Path, on_step: OnStep, ranks: Ranks = ALONE) -> str:
        """Return the path of the logits, or of the weights; what is finished is kept."""
        name = "logits.npy" if self.wanted else "weights.safetensors"
        path = checkpoint_dir / name
        if path.exists():
            on_step(self.n_steps)
            return str(path)
        images = load_pool(self.pool_dir).train_images
        labelled, codes = images[list(self.indices)], np.array(self.codes, dtype=np.int64)
        network: nn.Module | None = None
        if self.encoder is not None:
            network = finetuned_network(self.encoder.load(self.models_dir), self.n_classes)
            start_as_head(network, labelled, codes, self.strength)
        classifier = train_classifier(
            labelled,
            codes,
            self.n_classes,
            self.params,
            self.seed,
            checkpoint_dir,
            on_step,
            ranks,
            network,
        )
        if self.wanted:
            write_npy(path, classifier.logits(images[list(self.wanted)]))
        else:
            write_tensors(path, classifier_tensors(classifier))
        return str(path)


def start_as_head(
    network: FeaturesAndHead, images: np.ndarray, codes: np.ndarray, strength: float
) -> None:
    """Make the linear layer what `fit_head` makes of the labels, before all is trained.

    A random one has first to be learned, and distorts the features meanwhile.

    Parameters
    ----------
    network : FeaturesAndHead
    images : ndarray of shape (n, h, w, 3), uint8
    codes : ndarray of shape (n,), int64
    strength : float

    References
    ----------
    Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", 2022: LP-FT. Deviation: the head reads embeddings of length
    1, a linear layer cannot: it divides all by their mean length.
    """
    embeddings = Classifier(network, torch.zeros(3), torch.ones(3)).embed(images)
    mean = embeddings.mean(axis=0)
    with threadpool_limits(1):
        head = fit_head(centred(embeddings, mean), codes, network.head.out_features, strength)
    weight = head.weight / max(np.linalg.norm(embeddings - mean, axis=1).mean(), 1e-12)
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(weight))
        network.head.bias.copy_(torch.from_numpy(head.bias - weight @ mean))


def train_networks(
    pool: Pool,
    labelled: Labelled,
    folds: np.ndarray,
    sample: np.ndarray,
    make: Callable[..., LabelTraining],
    on_weights: Callable[[Path], object],
) -> tuple[np.ndarray, np.ndarray]:
    """Train a network a fold and one on all labels; return the logits out of fold.

    Parameters
    ----------
    pool, labelled
    folds : ndarray of shape (n_labels,), int64
        As `stratified_folds` returns them.
    sample : ndarray of shape (n_sample,), int64
        Pool indices of images that each fold's network is asked about as well.
    make
        From indices, codes and wanted to a `LabelTraining`.
    on_weights
        Is given the file of the last one's weights, which is gone after.

    Returns
    -------
    ndarray of shape (n_labels, n_classes), float32
        NaN in the rows of the fold -1.
    ndarray of shape (n_folds, n_sample, n_classes), float32
    """
    trainings = {}
    for fold in [*np.unique(folds[folds >= 0]).tolist(), FINAL]:
        held = (folds == fold) & (fold != FINAL)
        kept = ~held
        trainings[fold] = make(
            *(tuple(values[kept].tolist()) for values in (labelled.indices, labelled.codes)),
            wanted=() if fold == FINAL else (*labelled.indices[held].tolist(), *sample.tolist()),
        )
    logits = np.full((len(folds), len(labelled.classes)), np.nan, dtype=np.float32)
    of_sample = []
    with run_trainings("predict", trainings, pool, "networks") as paths:
        on_weights(Path(paths.pop(FINAL)))
        for fold, path in paths.items():
            found = read_npy(path)
            logits[folds == fold] = found[: -len(sample)]
            of_sample.append(found[-len(sample) :])
    return logits, np.array(of_sample).reshape(-1, len(sample), len(labelled.classes))
