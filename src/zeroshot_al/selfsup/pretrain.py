"""The training loop of the contrastive methods: two views a step, SGD, a cosine, checkpoints."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import write_json
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.engine.batches import BatchStream
from zeroshot_al.engine.checkpoint import Checkpoint, read_saved
from zeroshot_al.engine.data_parallel import averaged, check_batch_size
from zeroshot_al.engine.pixels import batch_reader, pixel_statistics
from zeroshot_al.engine.runtime import VIEWS, autocast, check_finite, generator_for, pick_device
from zeroshot_al.engine.schedule import learning_rate
from zeroshot_al.selfsup.augment_contrastive import ViewParams, contrastive_views
from zeroshot_al.selfsup.encoders import Encoder

logger = logging.getLogger(__name__)

HISTORY_HEADER = ("epoch", "loss", "learning_rate")


@dataclass(frozen=True)
class PretrainParams:
    """What the params section of each method holds, over the section `pretrain`.

    A method that is not `active` is not trained and orders nothing.

    LARS is for large batches (You, Gitman and Ginsburg, "Large Batch Training of Convolutional
    Networks", 2017), with the learning rate of SimCLR's appendix B.9: 1 times batch_size / 256.
    """

    active: bool
    seed: int
    epochs: int
    optimizer: Literal["sgd", "lars"]
    batch_size: int
    learning_rate: float
    warmup_epochs: int
    weight_decay: float
    temperature: float
    head_hidden: int
    head_dims: int
    views: ViewParams


class ContrastiveMethod(Protocol):
    """What the loop needs of a method, a module with an `encoder`."""

    encoder: Encoder

    def training_loss(self, first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
        """Return the scalar loss of two views, each float32 (n, 3, h, w) in [0, 1].

        Of the rows of this rank after `share`; the mean over the ranks is the loss of the batch.
        """

    def share(self, ranks: Ranks) -> None:
        """Expect from now on this rank's rows of each batch."""


def make_optimizer(method: torch.nn.Module, params: PretrainParams) -> torch.optim.Optimizer:
    """Return SGD or LARS, momentum 0.9, over the weights that take a gradient."""
    trained = [weight for weight in method.parameters() if weight.requires_grad]
    if params.optimizer == "sgd":
        return torch.optim.SGD(
            trained,
            lr=params.learning_rate,
            momentum=0.9,
            weight_decay=params.weight_decay,
            fused=True,
        )
    # As published: biases and BatchNorm's weights are neither decayed nor adapted.
    groups = [
        {"params": [weight for weight in trained if weight.ndim > 1]},
        {"params": [weight for weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    from timm.optim import Lars  # here, not above: timm takes seconds to import

    return Lars(groups, lr=params.learning_rate, momentum=0.9, weight_decay=params.weight_decay)


def fit_batch_size(params: PretrainParams, n_images: int) -> PretrainParams:
    """Halve the batch until the pool holds one, and the learning rate with it.

    Half of a batch size still divides MoCo's queue and can be shared by the ranks.
    """
    fitting = params
    while fitting.batch_size > max(n_images, 1):
        rate = fitting.learning_rate / 2
        fitting = replace(fitting, batch_size=fitting.batch_size // 2, learning_rate=rate)
    if fitting is not params:
        logger.warning(
            "batch_size %d exceeds the pool of %d: %d at a learning rate of %g instead of %g",
            params.batch_size,
            n_images,
            fitting.batch_size,
            fitting.learning_rate,
            params.learning_rate,
        )
    return fitting


def pretrain(
    method: torch.nn.Module,
    images: np.ndarray,
    params: PretrainParams,
    checkpoint_dir: Path,
    ranks: Ranks = ALONE,
) -> list[tuple[int, float, float]]:
    """Train a contrastive method's encoder in place.

    Parameters
    ----------
    method
        A `ContrastiveMethod`.
    images
        uint8 (n, h, w, 3), without labels; may be a memory map.
    checkpoint_dir
        Of this training alone; an interrupted training continues from it, on any number of ranks.
    ranks
        They share every batch: draws and batches are those of one process, and a step is equal up
        to rounding, which training amplifies. For bounds see docs/RANKS.md.

    Returns
    -------
    list of (epoch, mean loss, learning rate at its end)
        One row an epoch, counted from 1.

    Raises
    ------
    InputError
        If a batch is larger than the pool, or cannot be shared by the ranks, or if the loss
        becomes NaN or infinite.
    """
    if params.batch_size > len(images):
        raise InputError(
            f"batch_size {params.batch_size} exceeds the pool of {len(images)}; "
            "lower it in params.yaml"
        )
    check_batch_size(params.batch_size, ranks)
    if ranks.n_ranks > 1:
        method.share(ranks)
    device = pick_device()
    read_batch = batch_reader(images, device)
    method.encoder.mean, method.encoder.std = pixel_statistics(images)
    method.to(device, memory_format=torch.channels_last).train()
    optimizer = make_optimizer(method, params)
    batches = BatchStream(len(images), params.batch_size, params.seed)
    epoch_steps = len(images) // params.batch_size
    n_steps, warmup_steps = params.epochs * epoch_steps, params.warmup_epochs * epoch_steps
    checkpoint, modules = Checkpoint(checkpoint_dir), {"method": method}
    history_file = checkpoint_dir / "history.json"
    # The history is written before its checkpoint: there is none without it, and it may be one
    # epoch ahead.
    saved = read_saved(history_file, ranks)
    first_step = checkpoint.restore(modules, optimizer, ranks) if saved else 0
    history = [tuple(row) for row in saved["rows"][: first_step // epoch_steps]] if saved else []
    training_loss = averaged(_Loss(method), ranks)
    rows = None
    if ranks.n_ranks > 1:  # of this rank's images, in the batch of all first and all second views
        both = torch.arange(2 * params.batch_size).view(2, -1)
        rows = both[:, ranks.rows_of(params.batch_size)].flatten()

    epoch_loss = torch.zeros((), device=device)
    silent = None if ranks.is_first else True
    bar = tqdm(total=n_steps, initial=first_step, desc="pretrain", unit="step", disable=silent)
    for step in range(first_step, n_steps):
        rate = learning_rate(step, n_steps, params.learning_rate, warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        generator = generator_for(params.seed, VIEWS, step)
        both = read_batch(batches.indices(step)).repeat(2, 1, 1, 1).permute(0, 2, 3, 1)
        views = contrastive_views(both, params.views, generator, rows)
        with autocast(device):
            loss = training_loss(*views.chunk(2), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_loss += loss.detach()
        bar.update()
        if (step + 1) % epoch_steps == 0:
            # Reading the loss waits for the device: once an epoch.
            mean_loss = float(ranks.mean(epoch_loss)) / epoch_steps
            check_finite(mean_loss, "the contrastive loss", step, rate)
            history.append(((step + 1) // epoch_steps, mean_loss, rate))
            logger.info("epoch %d loss %.4f learning rate %.4g", *history[-1])
            if ranks.is_first:
                write_json(history_file, {"rows": history})
                checkpoint.save(step + 1, modules, optimizer)
            epoch_loss.zero_()
    bar.close()
    return history


class _Loss(torch.nn.Module):
    """A method's loss as a module's output, the only one that gradients are averaged for."""

    def __init__(self, method: torch.nn.Module) -> None:
        super().__init__()
        self.method = method

    def forward(self, first: Tensor, second: Tensor, generator: torch.Generator) -> Tensor:
        return self.method.training_loss(first, second, generator)
