"""The random views of contrastive learning, for a whole batch at once, on its device.

Equal in distribution to torchvision's RandomResizedCrop, RandomHorizontalFlip, ColorJitter,
RandomGrayscale, GaussianBlur and RandomSolarize in this order, with one draw of parameters for each
sample (`view_draws`).
"""

import torch
from torch import Tensor
from torch.nn import functional

from zeroshot_al.engine.runtime import to_device
from zeroshot_al.selfsup.view_draws import ViewParams, draw_views

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as torchvision and PIL
_SOLARIZE_THRESHOLD = 0.5  # BYOL, appendix B


def contrastive_views(
    images: Tensor, params: ViewParams, generator: torch.Generator, rows: Tensor | None = None
) -> Tensor:
    """Return one random view of each image.

    Parameters
    ----------
    images
        uint8 (n, h, w, 3), on any device.
    generator
        On the CPU.
    rows
        int64 (n_rows,), increasing, on the CPU: the images whose views are wanted. The draws are
        those of all images nevertheless. None stands for all.

    Returns
    -------
    Tensor
        float32 (n or n_rows, 3, size_px, size_px) in [0, 1], on the device of `images`.
    """
    drawn = draw_views(*images.shape[:3], params, generator)
    if rows is not None:
        images, drawn = images[to_device(rows, images.device)], drawn.rows(rows)
    views = _resized_crop(images, drawn.box, drawn.flip, params.size_px)
    views = _jitter(views, drawn.jitter_order, drawn.strengths)
    gray = drawn.gray.nonzero().flatten()
    if len(gray):
        gray = to_device(gray, views.device)
        views[gray] = _luma(views[gray]).expand(-1, 3, -1, -1)
    if drawn.blurred is not None:
        blurred = drawn.blurred.nonzero().flatten()
        sigmas_px = to_device(drawn.sigmas_px[blurred], views.device)
        blurred = to_device(blurred, views.device)
        views[blurred] = _blur(views[blurred], sigmas_px)
    if drawn.solarized is not None:
        turned = to_device(drawn.solarized, views.device)[:, None, None, None]
        turned = turned & (views >= _SOLARIZE_THRESHOLD)
        views = torch.where(turned, 1 - views, views)
    return views


def standardize(views: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (views - mean) / std per channel, float32 (n, 3, h, w) in channels_last memory."""
    scaled = (views - mean[:, None, None]) / std[:, None, None]
    return scaled.contiguous(memory_format=torch.channels_last)


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
    x, y = to_device(x * 2 - 1, images.device), to_device(y, images.device)
    grid = torch.stack(
        [x[:, None, :].expand(-1, size_px, -1), y[:, :, None].expand(-1, -1, size_px)], dim=-1
    )
    source = images.permute(0, 3, 1, 2).float().contiguous()
    views = functional.grid_sample(
        source, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return views.div_(255)


def _jitter(views: Tensor, order: Tensor, strengths: Tensor) -> Tensor:
    """Apply ColorJitter's four steps in each sample's own order."""
    steps = (_brightness, _contrast, _saturation, _hue)
    for turn in range(4):
        for index, step in enumerate(steps):
            mine = (order[:, turn] == index).nonzero().flatten()
            if len(mine):
                factor = to_device(strengths[mine, index], views.device)[:, None, None, None]
                mine = to_device(mine, views.device)
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
