"""A pool's pixels for training: from the memory map as they are needed, or from the GPU."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.runtime import to_device
from zeroshot_al.process.memory import check_memory, images_text

BLOCK = 1024  # images looked at together where a copy of all of them might not fit

logger = logging.getLogger(__name__)


def batch_reader(images: np.ndarray, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return a function from int64 (b,) indices to uint8 (b, 3, h, w) on the device.

    A CPU reads each batch from `images`, uint8 (n, h, w, 3), which may be a memory map larger than
    the memory and is shared by all processes. A GPU holds all of them, unless they are too many.
    """
    if device.type == "cuda" and _fit_on_gpu(images, device):
        n, height, width, _ = images.shape
        planes = torch.empty((n, 3, height, width), dtype=torch.uint8, device=device)
        for start in range(0, n, BLOCK):
            planes[start : start + BLOCK] = _planes(images[start : start + BLOCK], device)
        return lambda indices: planes[to_device(indices, device)]
    return lambda indices: _planes(images[indices.numpy()], device)


def pixel_statistics(images: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation, float32 (3,), of uint8 (n, h, w, 3) pixels in [0, 1].

    Computed from the 256-bin histogram of each channel: exact in float64, and no copy of the
    images as a whole.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros((3, 256), dtype=torch.int64)
    for start in range(0, len(images), BLOCK):
        planes = _planes(images[start : start + BLOCK], torch.device("cpu"))
        for channel in range(3):
            counts[channel] += torch.bincount(planes[:, channel].flatten(), minlength=256)
    weights = counts.double() / counts.sum(dim=1, keepdim=True)
    mean = weights @ levels
    variance = weights @ levels.square() - mean.square()
    # A constant channel has no spread to divide by.
    std = variance.clamp_min(0).sqrt()
    return mean.float(), torch.where(std > 0, std, torch.ones_like(std)).float()


def _fit_on_gpu(images: np.ndarray, device: torch.device) -> bool:
    try:
        what = f"holding {images_text(len(images), images.shape[1:])}"
        check_memory(images.nbytes, what, "they are read a batch at a time", device)
    except InputError as error:
        logger.warning("%s", error)
        return False
    return True


def _planes(images: np.ndarray, device: torch.device) -> Tensor:
    """Return uint8 (b, h, w, 3) as (b, 3, h, w), channel by channel in memory."""
    return torch.tensor(images, device=device).permute(0, 3, 1, 2).contiguous()
