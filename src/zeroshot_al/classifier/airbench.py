"""The small network of cifar10-airbench, which learns most from few images seen."""

import torch
from torch import Tensor, nn

from zeroshot_al.engine.whitening import Whitening

_BLOCKS = (16, 64, 64)  # channels a block; times 4 as published


def airbench(width: int, stem_stride: int) -> tuple[nn.Module, int]:
    """Return three blocks of two convolutions on whitened patches, and the number of features.

    Convolutions start as the identity, and BatchNorm does not scale.

    References
    ----------
    Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, sections 3.1 to 3.3. Deviation:
    the last pooling is over all of a map, which has 3 x 3 places for images of 32 pixels.
    """
    stem = Whitening(stem_stride)
    layers, n_in = [stem, nn.GELU()], stem.out_channels
    for n_out in (width * n for n in _BLOCKS):
        layers += [
            _identity_convolution(n_in, n_out),
            nn.MaxPool2d(2),
            _norm(n_out),
            nn.GELU(),
            _identity_convolution(n_out, n_out),
            _norm(n_out),
            nn.GELU(),
        ]
        n_in = n_out
    features = nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), _Scale(1 / 9))
    return features, n_in


def _identity_convolution(n_in: int, n_out: int) -> nn.Conv2d:
    """Let the first filters hand their channel on; others are random."""
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:n_in])
    return convolution


def _norm(n_channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(n_channels)
    norm.weight.requires_grad_(False)
    return norm


class _Scale(nn.Module):
    """Features times a number: small scores at first, as the published network has them."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x
