"""Images at the size that an existing model takes, as many at a time as memory bears."""

from torch import Tensor
from torch.nn import functional

BATCH_PIXELS = 2**22
"""Of one batch of resized images: 83 of 224 pixels, within 1 GB for a ResNet-50."""


def batch_size_of(size_px: tuple[int, int]) -> int:
    """Return how many images of this height and width to embed at a time in bounded memory."""
    return max(1, min(500, BATCH_PIXELS // (size_px[0] * size_px[1])))


def resize(views: Tensor, size_px: tuple[int, int], mode: str) -> Tensor:
    """Resize complete images, float32 (n, 3, h, w) in [0, 1], to this height and width.

    Deviation: timm's own evaluation crops the centre, which would leave out what stands at the
    edge of an image.
    """
    if tuple(views.shape[2:]) == size_px:
        return views
    resized = functional.interpolate(views, size_px, mode=mode, align_corners=False, antialias=True)
    return resized.clamp(0, 1)  # bicubic interpolation goes beyond
