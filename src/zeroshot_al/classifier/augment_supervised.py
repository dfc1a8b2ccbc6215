"""Random crop, flip and Cutout of a whole batch at once, on the device that holds it."""

import torch
from torch import Tensor
from torch.nn import functional

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.runtime import to_device


class SupervisedViews:
    """Training views: random crop of the zero-padded image, horizontal flip, Cutout.

    Parameters
    ----------
    images
        uint8 (n, h, w, 3), on the device that trains.
    crop_px, pad_px, cutout_px
        Side of the view, zero padding before the crop, side of the square cut out (0: none).
    flip_rate
        Share of views that are mirrored; 0 where left and right differ, as for digits.
    mean, std
        float32 (3,), of the pool's pixels in [0, 1].

    Raises
    ------
    InputError
        If the crop is larger than the padded image.

    References
    ----------
    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
    2017, section 3.2: the square's centre is uniform over the image and may hang over its border.
    """

    def __init__(
        self,
        images: Tensor,
        crop_px: int,
        pad_px: int,
        flip_rate: float,
        cutout_px: int,
        mean: Tensor,
        std: Tensor,
    ) -> None:
        height, width = images.shape[1:3]
        if crop_px > min(height, width) + 2 * pad_px:
            raise InputError(
                f"crop_px {crop_px} exceeds the padded image of {min(height, width) + 2 * pad_px} "
                "pixels; lower it in params.yaml"
            )
        self._padded = functional.pad(images, (0, 0, pad_px, pad_px, pad_px, pad_px))
        self._crop_px = crop_px
        self._flip_rate = flip_rate
        self._cutout_px = cutout_px
        self._mean = mean.to(images.device)
        self._std = std.to(images.device)

    def __call__(
        self, indices: Tensor, generator: torch.Generator, rows: slice = slice(None)
    ) -> Tensor:
        """Return float32 (b, 3, crop_px, crop_px) views in channels_last memory.

        `generator` is a CPU generator: all draws happen there, so they are equal on every device.
        They are those of all `indices` even if the views of some `rows` of them are wanted.
        """
        n, crop, device = len(indices), self._crop_px, self._padded.device
        height, width = self._padded.shape[1:3]
        top = torch.randint(height - crop + 1, (n, 1), generator=generator)
        left = torch.randint(width - crop + 1, (n, 1), generator=generator)
        flip = torch.rand((n, 1), generator=generator) < self._flip_rate
        centre = torch.randint(crop, (n, 2), generator=generator)
        indices, top, left, flip, centre = (
            drawn[rows] for drawn in (indices, top, left, flip, centre)
        )

        steps = torch.arange(crop)
        rows = to_device(top + steps, device)  # (n, crop)
        columns = to_device(left + torch.where(flip, steps.flip(0), steps), device)
        picked = to_device(indices, device)[:, None, None]
        views = self._padded[picked, rows[:, :, None], columns[:, None, :]]  # (n, crop, crop, 3)
        views = normalize(views, self._mean, self._std)
        if self._cutout_px:
            half = self._cutout_px // 2
            start = centre - half
            inside = (steps >= start[..., None]) & (steps < (start + self._cutout_px)[..., None])
            inside = to_device(inside, device)
            hole = inside[:, 0, :, None] & inside[:, 1, None, :]  # (n, crop, crop)
            views = views.masked_fill_(hole[:, None], 0.0)  # after normalisation: the mean colour
        return views


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Turn uint8 (n, h, w, 3) into standardised float32 (n, 3, h, w) in channels_last memory."""
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)
