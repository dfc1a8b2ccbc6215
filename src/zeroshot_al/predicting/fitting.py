"""Fit the model that `labels.model` names to the labels, and ask it about the whole pool."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from safetensors.torch import load_file
from threadpoolctl import threadpool_limits
from torch import Tensor

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.pool import Pool
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.labels.labelling import LabelsParams
from zeroshot_al.predicting.accuracy import density, sample_of
from zeroshot_al.predicting.assessment import HeldOut, PoolLikeness
from zeroshot_al.predicting.head import FEW, choose_strength, fit_head, stratified_folds
from zeroshot_al.predicting.labelled import Labelled
from zeroshot_al.predicting.networks import LabelTraining, train_networks
from zeroshot_al.predicting.saved import BLOCK, EncoderUsed, ModelCard, head_tensors, model_logits
from zeroshot_al.probing.heads import centred


@dataclass(frozen=True, eq=False)
class Embedded:
    """A pool's embeddings, centred and of length 1 wherever they are used.

    Parameters
    ----------
    embeddings : ndarray of shape (n_train, n_dims), float32
        May be a memory map.
    mean : ndarray of shape (n_dims,), float32
    """

    embeddings: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray) -> "Embedded":
        """Take the mean of embeddings."""
        return cls(embeddings, embeddings.mean(axis=0, dtype=np.float64).astype(np.float32))

    def rows(self, places: np.ndarray | slice) -> np.ndarray:
        """Return some of them, float32 (n, n_dims)."""
        return centred(self.embeddings[places], self.mean)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of the labels, and what it answers.

    Parameters
    ----------
    card, tensors
        As `save_model` takes them.
    folds : ndarray of shape (n_labels,), int64
        Of the labels; -1 always in training.
    sample : ndarray of shape (n_sample,), int64
        Pool indices of images that stand for the pool.
    strength : float
        Of a head on the labels, whatever the model is.
    held : HeldOut
    pool_logits : ndarray of shape (n_train, n_classes), float32
    """

    card: ModelCard
    tensors: Mapping[str, Tensor]
    folds: np.ndarray
    sample: np.ndarray
    strength: float
    held: HeldOut
    pool_logits: np.ndarray


def fit_model(
    pool: Pool,
    embedded: Embedded,
    labelled: Labelled,
    params: LabelsParams,
    classifier: ClassifierParams,
    encoder: EncoderUsed | None,
    seed: int,
    pool_dir: str,
    models_dir: str,
) -> Fitted:
    """Fit the model, and calibrate it on labels that were held out.

    Raises
    ------
    InputError
        If a network is wanted and there are no images or no encoder to train.
    """
    n_classes = len(labelled.classes)
    rows = embedded.rows(labelled.indices)
    n_folds = 10 if len(rows) <= FEW and params.model == "head" else 5
    sample = sample_of(pool.n_train, seed)
    folds = stratified_folds(labelled.codes, n_folds, seed)
    with threadpool_limits(1):  # small products: several threads wait for each other
        strength, logits, heads = choose_strength(rows, labelled.codes, folds, n_classes)
        head = fit_head(rows, labelled.codes, n_classes, strength)
    if params.model == "head":
        tensors = head_tensors(head, embedded.mean)
        sample_rows = embedded.rows(sample)
        found = [head.logits(sample_rows) for head in heads]
        sample_logits = np.array(found).reshape(-1, len(sample), n_classes)
        blocks = range(0, pool.n_train, BLOCK)
        parts = [head.logits(embedded.rows(slice(i, i + BLOCK))) for i in blocks]
    else:
        classifier, encoder = _network_params(pool, params, classifier, encoder)
        make = partial(
            LabelTraining,
            n_classes=n_classes,
            seed=seed,
            params=classifier,
            encoder=encoder,
            strength=strength,
            pool_dir=pool_dir,
            models_dir=models_dir,
        )
        tensors: dict[str, Tensor] = {}
        logits, sample_logits = train_networks(
            pool, labelled, folds, sample, make, lambda file: tensors.update(load_file(file))
        )
    held = HeldOut.of(logits, labelled.codes, sample_logits)
    card = ModelCard(
        model=params.model,
        classes=labelled.classes,
        temperature=held.temperature,
        image_px=pool.images.shape[1:3],
        encoder=encoder,
        classifier=classifier if params.model == "network" else None,
    )
    if params.model != "head":
        parts = list(model_logits(card, tensors, pool.train_images, models_dir))
    return Fitted(card, tensors, folds, sample, strength, held, np.concatenate(parts))


def _network_params(
    pool: Pool, params: LabelsParams, classifier: ClassifierParams, encoder: EncoderUsed | None
) -> tuple[ClassifierParams, EncoderUsed | None]:
    if not pool.has_images:
        raise InputError(
            f"labels.model {params.model!r} needs images, and the pool has embeddings alone; set "
            "it to head"
        )
    if params.model == "network":
        return classifier, None
    return replace(classifier, **vars(params.finetune)), encoder


def likeness(embedded: Embedded, labelled: Labelled, fitted: Fitted) -> PoolLikeness:
    """Say how sure and how densely placed the labels are that were held out, and the pool is."""
    held = fitted.held
    sample = embedded.rows(fitted.sample)
    rows = embedded.rows(labelled.indices[held.places])
    properties = np.column_stack([held.confidence, density(rows, sample)])
    unlabelled = ~np.isin(fitted.sample, labelled.indices)
    if not unlabelled.any():
        return PoolLikeness(properties, properties.mean(axis=0))
    of_pool = np.column_stack([held.sample_confidence, density(sample, sample)])
    return PoolLikeness(properties, of_pool[unlabelled].mean(axis=0))
