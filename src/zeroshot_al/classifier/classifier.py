"""The model that spends the labels, trained from scratch with Cutout: the paper's Wide ResNet."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.augment_supervised import SupervisedViews, normalize
from zeroshot_al.classifier.classifier_models import make_model
from zeroshot_al.engine.batches import BatchStream
from zeroshot_al.engine.checkpoint import Checkpoint
from zeroshot_al.engine.data_parallel import averaged, check_batch_size, synchronized
from zeroshot_al.engine.pixels import pixel_statistics
from zeroshot_al.engine.runtime import (
    VIEWS,
    autocast,
    check_finite,
    generator_for,
    initial_weights,
    pick_device,
    to_device,
)
from zeroshot_al.engine.schedule import Decay, learning_rate
from zeroshot_al.engine.whitening import fit_whitening

_LOG_STEPS = 50


@dataclass(frozen=True)
class ClassifierParams:
    """Params section `classifier`.

    Of each model's `depth`, `width`, `stem_stride` and `whitening`, see `make_model`. A vit wants a
    lower `learning_rate` than the others, about 0.03. `steps` are optimiser steps, the same at
    every budget. With `test_flip` the scores of an image and of its mirror image are averaged.
    An `InputError` is raised if `label_smoothing` is not in [0, 1).
    """

    name: Literal["wide-resnet", "airbench", "resnet-18", "vgg", "vit"]
    depth: int
    width: int
    stem_stride: int
    whitening: bool
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    decay: Decay
    weight_decay: float
    label_smoothing: float
    crop_px: int
    pad_px: int
    flip_rate: float
    cutout_px: int
    test_flip: bool

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"label_smoothing {self.label_smoothing} of the classifier must be at least 0 and "
                "below 1; change it in params.yaml"
            )


class Classifier:
    """A network and the pixel statistics that its inputs are standardised with.

    On several ranks, every method is collective and returns the same on each.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        std: Tensor,
        ranks: Ranks = ALONE,
        *,
        test_flip: bool = False,
    ) -> None:
        self.device = pick_device()
        self._ranks = ranks
        network = synchronized(network, ranks)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.mean, self.std = mean.to(self.device), std.to(self.device)
        self._test_flip = test_flip  # whether the scores are the mean with the mirror image's

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """Return the fraction of uint8 (n, h, w, 3) images given their int64 (n,) label."""
        with autocast(self.device):
            predicted = self._apply(self._scores, images).argmax(dim=1)
        return float((predicted.cpu() == torch.from_numpy(labels)).double().mean())

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, n_classes) of uint8 (n, h, w, 3) images."""
        with autocast(self.device):
            return self._apply(self._scores, images).float().cpu().numpy()

    def _scores(self, batch: Tensor) -> Tensor:
        scores = self.network(batch)
        return (scores + self.network(batch.flip(3))) / 2 if self._test_flip else scores

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, n_features): the pre-final layer, which Core-Set measures in.

        Computed in float32, because distances between bf16 features tie.
        """
        return self._apply(self.network.features, images).cpu().numpy()

    @torch.inference_mode()
    def _apply(
        self, function: Callable[[Tensor], Tensor], images: np.ndarray, batch_size: int = 500
    ) -> Tensor:
        """Return the function of all images, on every rank; each computes a run of them."""
        self.network.eval()
        n_mine = -(-len(images) // self._ranks.n_ranks)
        images = images[self._ranks.rank * n_mine : (self._ranks.rank + 1) * n_mine]
        outputs = []
        # Once at least: a rank may have no image, and its part must have the others' form.
        for start in range(0, max(1, len(images)), batch_size):
            batch = torch.tensor(images[start : start + batch_size], device=self.device)
            outputs.append(function(normalize(batch, self.mean, self.std)))
        return torch.cat(self._ranks.gather_rows(torch.cat(outputs)))


def new_network(params: ClassifierParams, n_classes: int) -> nn.Module:
    """Make the model of section `classifier`, with weights from torch's global generator."""
    return make_model(
        params.name,
        params.depth,
        params.width,
        params.stem_stride,
        n_classes,
        params.crop_px,
        params.whitening,
    )


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    params: ClassifierParams,
    seed: int,
    checkpoint_dir: Path,
    on_step: Callable[[int], object],
    ranks: Ranks = ALONE,
    network: nn.Module | None = None,
) -> Classifier:
    """Train a classifier with Cutout, flip and crop.

    Parameters
    ----------
    images
        uint8 (n, h, w, 3), the labelled images.
    labels
        int64 (n,) class indices below `n_classes`.
    seed
        Initial weights, order of the batches and views are functions of it.
    checkpoint_dir
        Of this training alone; an interrupted training continues from it.
    on_step
        Called with the number of steps newly done.
    ranks
        They share every batch: draws and batches are those of one process, and the weights are
        equal up to rounding, which training amplifies.
    network
        To go on with, from views in [0, 1] to (n, n_classes); None: the model of `params`, from
        scratch.

    Raises
    ------
    InputError
        If the model cannot be made or cannot read images of this size, if the ranks cannot share
        a batch equally, or if the loss becomes NaN or infinite.

    References
    ----------
    Zagoruyko and Komodakis, "Wide Residual Networks", 2016; DeVries and Taylor, "Cutout", 2017,
    section 4.1: SGD with Nesterov momentum 0.9, the learning rate here on a cosine.
    """
    if (
        network is None
        and params.name == "vit"
        and images.shape[1:3] != (params.crop_px, params.crop_px)
    ):
        raise InputError(
            f"a vit reads images of the size that it is trained on: crop_px {params.crop_px} must "
            f"be the images' {' x '.join(map(str, images.shape[1:3]))} pixels; change it in "
            "params.yaml or take another classifier"
        )
    check_batch_size(params.batch_size, ranks)
    initial_weights(seed)
    on_device = torch.from_numpy(np.ascontiguousarray(images)).to(pick_device())
    mean, std = torch.zeros(3), torch.ones(3)
    is_new = network is None
    if network is None:
        mean, std = pixel_statistics(images)
        network = new_network(params, n_classes)
        fit_whitening(network, images, mean, std)
    flip = is_new and params.test_flip
    classifier = Classifier(network, mean, std, ranks, test_flip=flip)
    network, device = classifier.network, classifier.device
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=params.learning_rate,
        momentum=0.9,
        nesterov=True,
        weight_decay=params.weight_decay,
        fused=True,
    )
    views = SupervisedViews(
        on_device, params.crop_px, params.pad_px, params.flip_rate, params.cutout_px, mean, std
    )
    targets = torch.from_numpy(labels).to(device)
    batches = BatchStream(len(images), params.batch_size, seed)
    checkpoint = Checkpoint(checkpoint_dir)
    modules = {"network": network}
    first_step = checkpoint.restore(modules, optimizer, ranks)
    trained = averaged(network, ranks)
    mine = ranks.rows_of(params.batch_size)
    on_step(first_step)

    network.train()
    recent_loss = torch.zeros((), device=device)
    for step in range(first_step, params.steps):
        rate = learning_rate(
            step, params.steps, params.learning_rate, params.warmup_steps, params.decay
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        indices = batches.indices(step)
        batch = views(indices, generator_for(seed, VIEWS, step), mine)
        with autocast(device):
            loss = nn.functional.cross_entropy(
                trained(batch),
                targets[to_device(indices[mine], device)],
                label_smoothing=params.label_smoothing,
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        recent_loss += loss.detach()
        # Reading the loss waits for the device, so it is read once in a while, not each step.
        if (step + 1) % _LOG_STEPS == 0 or step + 1 == params.steps:
            check_finite(float(ranks.mean(recent_loss)), "the classifier's loss", step, rate)
            recent_loss.zero_()
        if batches.ends_epoch(step) and ranks.is_first:
            checkpoint.save(step + 1, modules, optimizer)
        on_step(1)
    return classifier
