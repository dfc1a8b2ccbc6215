"""The random views of contrastive learning, for a whole batch at once, on its device.

Equal in distribution to torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur and RandomSolarize in this order, with one draw of parameters for each
sample. All draws come from a CPU generator, so that they are the same on every device and no step
waits for the device.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as torchvision and PIL
_ASPECT = (3 / 4, 4 / 3)
_CROP_TRIES = 10
# SimCLR, appendix A: a kernel of a tenth of the side, its width uniform between these, in pixels.
_BLUR_SIGMA_PX = (0.1, 2.0)
_SOLARIZE_THRESHOLD = 0.5  # BYOL, appendix B


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


def contrastive_views(images: Tensor, params: ViewParams, generator: torch.Generator) -> Tensor:
    """Return one random view of each image.

    Parameters
    ----------
    images
        uint8 (n, h, w, 3), on any device.
    params
        See `ViewParams`.
    generator
        On the CPU.

    Returns
    -------
    Tensor
        float32 (n, 3, size_px, size_px) in [0, 1], on the device of `images`.
    """
    n, height, width, _ = images.shape
    box = draw_crops(n, height, width, params.min_area, generator)
    flip = torch.rand(n, generator=generator) < params.flip_rate
    views = _resized_crop(images, box, flip, params.size_px)
    views = _jitter(views, params, generator)
    gray = (torch.rand(n, generator=generator) < params.grayscale_rate).nonzero().flatten()
    if len(gray):
        gray = gray.to(views.device)
        views[gray] = _luma(views[gray]).expand(-1, 3, -1, -1)
    if params.blur_rate:
        blurred = (torch.rand(n, generator=generator) < params.blur_rate).nonzero().flatten()
        sigmas_px = torch.empty(n).uniform_(*_BLUR_SIGMA_PX, generator=generator)[blurred]
        blurred = blurred.to(views.device)
        views[blurred] = _blur(views[blurred], sigmas_px.to(views.device))
    if params.solarize_rate:
        turned = torch.rand(n, generator=generator) < params.solarize_rate
        turned = turned.to(views.device)[:, None, None, None] & (views >= _SOLARIZE_THRESHOLD)
        views = torch.where(turned, 1 - views, views)
    return views


def standardize(views: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (views - mean) / std per channel, float32 (n, 3, h, w) in channels_last memory."""
    scaled = (views - mean[:, None, None]) / std[:, None, None]
    return scaled.contiguous(memory_format=torch.channels_last)


def draw_crops(
    n: int, height: int, width: int, min_area: float, generator: torch.Generator
) -> Tensor:
    """Draw boxes as RandomResizedCrop.get_params does: the first of ten tries that fits.

    Returns
    -------
    Tensor
        int64 (n, 4): top, left, height, width in pixels.
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


def _resized_crop(images: Tensor, box: Tensor, flip: Tensor, size_px: int) -> Tensor:
    """Crop, flip and resize bilinearly in one sampling.

    Deviation: no antialiasing (a crop of a small image is mostly enlarged), and a border pixel
    may blend with its neighbour outside the crop.
    """
    _, height, width, _ = images.shape
    top, left, h, w = box.float().unbind(dim=1)
    centres = (torch.arange(size_px) + 0.5) / size_px  # of the output's pixels, in (0, 1)
    y = (top[:, None] + centres * h[:, None]) / height * 2 - 1  # (n, size_px), grid_sample's range
    x = (left[:, None] + torch.where(flip[:, None], 1 - centres, centres) * w[:, None]) / width
    x = x * 2 - 1
    grid = torch.stack(
        [x[:, None, :].expand(-1, size_px, -1), y[:, :, None].expand(-1, -1, size_px)], dim=-1
    ).to(images.device)
    source = images.permute(0, 3, 1, 2).float().contiguous()
    views = functional.grid_sample(
        source, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return views.div_(255)


def _jitter(views: Tensor, params: ViewParams, generator: torch.Generator) -> Tensor:
    """Apply ColorJitter to a share of the samples, its four steps in each sample's own order."""
    n = len(views)

    def factors(strength: float) -> Tensor:
        low = max(0.0, 1 - strength)
        return torch.empty(n).uniform_(low, 1 + strength, generator=generator)

    strengths = torch.stack(
        [factors(params.brightness), factors(params.contrast), factors(params.saturation),
         torch.empty(n).uniform_(-params.hue, params.hue, generator=generator)]
    )  # fmt: skip  # (4, n)
    chosen = torch.rand(n, generator=generator) < params.jitter_rate
    order = torch.rand(n, 4, generator=generator).argsort(dim=1)
    order[~chosen] = -1
    steps = (_brightness, _contrast, _saturation, _hue)
    for turn in range(4):
        for index, step in enumerate(steps):
            mine = (order[:, turn] == index).nonzero().flatten()
            if len(mine):
                factor = strengths[index, mine].to(views.device)[:, None, None, None]
                mine = mine.to(views.device)
                views[mine] = step(views[mine], factor)
    return views


def _blur(x: Tensor, sigmas_px: Tensor) -> Tensor:
    """Blur each sample with a Gaussian of its own, one axis after the other, edges reflected."""
    n, channels, height, width = x.shape
    radius = max(1, width // 20)
    places = torch.arange(-radius, radius + 1, device=x.device)
    kernels = torch.exp(-0.5 * (places / sigmas_px[:, None]).square())
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    # Every channel of every sample is a group of one convolution.
    planes = x.reshape(1, n * channels, height, width)
    planes = functional.pad(planes, [radius] * 4, mode="reflect")
    planes = functional.conv2d(planes, kernels[:, None, :, None], groups=n * channels)
    planes = functional.conv2d(planes, kernels[:, None, None, :], groups=n * channels)
    return planes.reshape(n, channels, height, width)


def _luma(x: Tensor) -> Tensor:
    return _LUMA[0] * x[:, 0:1] + _LUMA[1] * x[:, 1:2] + _LUMA[2] * x[:, 2:3]


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * factor).clamp_(0, 1)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    mean = _luma(x).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, factor).clamp_(0, 1)


def _saturation(x: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(_luma(x), x, factor).clamp_(0, 1)


def _hue(x: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue by `shift` (a fraction of the circle), exactly as through HSV."""
    red, green, blue = x.unbind(dim=1)
    value = x.amax(dim=1)
    chroma = value - x.amin(dim=1)
    scale = 1 / torch.where(chroma > 0, chroma, 1)
    # Sixths of the circle, by which channel is largest.
    sector = torch.where(
        value == red,
        (green - blue) * scale,
        torch.where(value == green, (blue - red) * scale + 2, (red - green) * scale + 4),
    )
    sector = sector + shift[:, 0] * 6
    turned = []
    for offset in (5, 3, 1):  # f(n) = v - c max(0, min(k, 4 - k, 1)), k = (n + h / 60) mod 6
        k = torch.remainder(sector + offset, 6)
        turned.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(turned, dim=1)
