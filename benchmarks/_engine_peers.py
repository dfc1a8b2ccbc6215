"""The loops that our engine is timed against, written as their documentation shows them.

Both use the same networks as ours, PIL transforms in a DataLoader's worker processes, float32.
"""

import time

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Images(Dataset):
    """PIL images and a transform, as torchvision's data sets hand them out; endless by index."""

    def __init__(self, images: np.ndarray, n_samples: int, transform) -> None:
        self._images, self._n_samples, self._transform = images, n_samples, transform

    def __len__(self) -> int:
        return self._n_samples

    def __getitem__(self, index: int):
        image = Image.fromarray(self._images[index % len(self._images)])
        return self._transform(image), index % 10


def timed(
    images, transform, batch_size, n_workers, loss_of, optimizer, n_warmup, n_steps, device
) -> float:
    """Seconds of `n_steps` steps after `n_warmup` others: workers and caches are then warm."""
    batches = DataLoader(
        Images(images, batch_size * (n_warmup + n_steps), transform),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
    )
    start = 0.0
    for index, batch in enumerate(batches):
        if index == n_warmup:
            synchronize(device)
            start = time.perf_counter()
        loss = loss_of(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def lightly_loop(name, method, images, params, n_workers, n_warmup, n_steps, device) -> float:
    """Seconds of lightly's CIFAR-10 loop: its transform, loss and momentum update, one SGD.

    `method` is our module, of which the encoder, the head and (for MoCo) their key copies are used.
    lightly 1.6, benchmark scripts `cifar10_benchmark.py`: SimCLR and MoCo, the latter symmetric
    with shuffled batches.
    """
    from lightly.loss import NTXentLoss
    from lightly.models.utils import batch_shuffle, batch_unshuffle, update_momentum
    from lightly.transforms import SimCLRTransform

    transform = SimCLRTransform(params.views.size_px, cj_strength=0.5, gaussian_blur=0.0)
    bank = (params.queue_size, params.head_dims) if name == "moco" else 0
    criterion = NTXentLoss(params.temperature, memory_bank_size=bank).to(device)
    method.to(device).train()
    weights = [weight for weight in method.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.06, momentum=0.9, weight_decay=5e-4)

    def keys_of(view):
        with torch.no_grad():
            shuffled, order = batch_shuffle(view)
            keys = method.key_head(method.key_encoder(shuffled))
            return batch_unshuffle(keys, order)

    def moco_loss(first, second):
        return criterion(method.head(method.encoder(first)), keys_of(second))

    def loss_of(batch):
        first, second = (view.to(device) for view in batch[0])
        if name == "moco":
            update_momentum(method.encoder, method.key_encoder, params.momentum)
            update_momentum(method.head, method.key_head, params.momentum)
            return 0.5 * (moco_loss(first, second) + moco_loss(second, first))
        return criterion(*(method.head(method.encoder(view)) for view in (first, second)))

    loop = (images, transform, params.batch_size, n_workers, loss_of, optimizer)
    return timed(*loop, n_warmup, n_steps, device)


def plain_loop(network, images, params, n_workers, n_warmup, n_steps, device) -> float:
    """Seconds of the usual supervised loop: torchvision's crop, flip and erasing, one SGD."""
    erased = (params.cutout_px / params.crop_px) ** 2
    transform = transforms.Compose(
        [
            transforms.RandomCrop(params.crop_px, padding=params.pad_px),
            transforms.RandomHorizontalFlip(params.flip_rate),
            transforms.ToTensor(),
            transforms.Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26)),
            transforms.RandomErasing(1.0, (erased, erased), (1.0, 1.0)),
        ]
    )
    network.to(device).train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )

    def loss_of(batch):
        inputs, targets = (part.to(device) for part in batch)
        return nn.functional.cross_entropy(network(inputs), targets)

    loop = (images, transform, params.batch_size, n_workers, loss_of, optimizer)
    return timed(*loop, n_warmup, n_steps, device)
