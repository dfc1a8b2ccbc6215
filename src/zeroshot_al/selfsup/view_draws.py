"""What is random in the views of contrastive learning, drawn for a whole batch at once.

All draws come from a CPU generator, so that they are the same on every device and no step waits for
the device; and they are those of all images of a batch on each rank that makes a part of the views.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

_ASPECT = (3 / 4, 4 / 3)
_CROP_TRIES = 10
# SimCLR, appendix A: a kernel of a tenth of the side, its width uniform between these, in pixels.
_BLUR_SIGMA_PX = (0.1, 2.0)


@dataclass(frozen=True)
class ViewParams:
    """Params subsection `views`.

    `size_px` is the side of a view, `min_area` the least fraction of the image that it shows;
    `brightness`, `contrast`, `saturation` and `hue` are ColorJitter's strengths. With a
    `blur_rate` or `solarize_rate` of 0 nothing is drawn for it.

    References
    ----------
    Paper: section 5.2 (grayscale 0.2, crop 0.08 to 1, flip 0.5, jitter 0.8). Chen et al., 2020,
    appendix A (blur 0.5 on ImageNet, none on CIFAR-10). Grill et al., "Bootstrap Your Own Latent",
    2020, appendix B (solarize 0.2 on one view of two).
    """

    size_px: int
    min_area: float
    flip_rate: float
    jitter_rate: float
    grayscale_rate: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    blur_rate: float
    solarize_rate: float


@dataclass(frozen=True)
class ViewDraws:
    """All that is random in the views of n images; the first axis of each is n, on the CPU."""

    box: Tensor  # int64 (n, 4)
    flip: Tensor  # bool (n,), as all without a comment
    strengths: Tensor  # float32 (n, 4): brightness, contrast, saturation, hue
    jitter_order: Tensor  # int64 (n, 4): which of them comes when; -1 in a row without jitter
    gray: Tensor
    blurred: Tensor | None
    sigmas_px: Tensor | None  # float32 (n,)
    solarized: Tensor | None

    def rows(self, rows: Tensor) -> "ViewDraws":
        """Return the draws of some of the images, given by int64 indices."""
        drawn = (getattr(self, field.name) for field in fields(self))
        return ViewDraws(*(None if tensor is None else tensor[rows] for tensor in drawn))


def draw_views(
    n: int, height: int, width: int, params: ViewParams, generator: torch.Generator
) -> ViewDraws:
    """Draw the parameters of one random view of each of n images, from a CPU generator."""

    def happens(rate: float) -> Tensor:
        return torch.rand(n, generator=generator) < rate

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high, generator=generator)

    box = draw_crops(n, height, width, params.min_area, generator)
    flip = happens(params.flip_rate)
    strengths = [
        uniform(max(0.0, 1 - strength), 1 + strength)
        for strength in (params.brightness, params.contrast, params.saturation)
    ]
    strengths.append(uniform(-params.hue, params.hue))
    jittered = happens(params.jitter_rate)
    jitter_order = torch.rand(n, 4, generator=generator).argsort(dim=1)
    jitter_order[~jittered] = -1
    gray = happens(params.grayscale_rate)
    blurred = happens(params.blur_rate) if params.blur_rate else None
    sigmas_px = uniform(*_BLUR_SIGMA_PX) if params.blur_rate else None
    solarized = happens(params.solarize_rate) if params.solarize_rate else None
    strengths = torch.stack(strengths, dim=1)
    return ViewDraws(box, flip, strengths, jitter_order, gray, blurred, sigmas_px, solarized)


def draw_crops(
    n: int, height: int, width: int, min_area: float, generator: torch.Generator
) -> Tensor:
    """Draw boxes as RandomResizedCrop.get_params does: the first of ten tries that fits.

    Returns int64 (n, 4): top, left, height, width in pixels.
    """
    area = torch.empty(n, _CROP_TRIES).uniform_(min_area, 1.0, generator=generator)
    area *= height * width
    low, high = math.log(_ASPECT[0]), math.log(_ASPECT[1])
    aspect = torch.empty(n, _CROP_TRIES).uniform_(low, high, generator=generator).exp()
    widths = (area * aspect).sqrt().round().long()
    heights = (area / aspect).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.byte().argmax(dim=1, keepdim=True)
    w, h = widths.gather(1, first)[:, 0], heights.gather(1, first)[:, 0]
    place = torch.rand(2, n, generator=generator)
    top = (place[0] * (height - h + 1)).long()
    left = (place[1] * (width - w + 1)).long()
    # No try fits: the largest central box within the aspect limits.
    none = ~fits.any(dim=1)
    if none.any():
        w[none] = min(width, round(height * _ASPECT[1]))
        h[none] = min(height, round(width / _ASPECT[0]))
        top[none], left[none] = (height - h[none]) // 2, (width - w[none]) // 2
    return torch.stack([top, left, h, w], dim=1)
