"""Wide residual networks for small images."""

import torch
from torch import Tensor, nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.whitening import Whitening


class WideResNet(nn.Module):
    """Pre-activation Wide ResNet, WRN-depth-width.

    Parameters
    ----------
    depth
        Number of convolutions, 6n + 4.
    width
        Widening factor k: the three groups have 16k, 32k and 64k channels.
    stem_stride
        Stride of the first convolution: 1 as published, 2 for a quarter of the work.
    whitening
        Whether the first convolution is `Whitening`, which the caller has to fit.

    References
    ----------
    Zagoruyko and Komodakis, "Wide Residual Networks", 2016, table 1.
    """

    def __init__(
        self, depth: int, width: int, n_classes: int, stem_stride: int = 1, whitening: bool = False
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"depth {depth} is not 6n + 4 with n >= 1; take 10, 16, 22, 28 or 40")
        n_blocks = (depth - 4) // 6
        channels = [16, 16 * width, 32 * width, 64 * width]
        # Deviation: a stride of 2 here. On a CPU most of the time goes into the first group, which
        # has few channels on the largest maps; at equal time the strided network learns more.
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, stem_stride, padding=1, bias=False)]
        if whitening:
            layers = [Whitening(stem_stride)]
            channels[0] = layers[0].out_channels
        for group in range(3):
            for block in range(n_blocks):
                n_in = channels[group] if block == 0 else channels[group + 1]
                stride = 2 if block == 0 and group > 0 else 1
                layers.append(_Block(n_in, channels[group + 1], stride))
        layers += [nn.BatchNorm2d(channels[3]), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[3], n_classes)
        self.n_features = channels[3]
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and not isinstance(module, Whitening):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:  # (n, 3, h, w) -> (n, n_classes)
        return self.head(self.features(images))


class _Block(nn.Module):
    """BatchNorm, ReLU, 3x3 convolution, twice, and the shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(n_in)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        # Where the shape changes, the shortcut is a 1x1 convolution of the activated input.
        changes = n_in != n_out or stride != 1
        self.shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        activated = torch.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return self.conv2(torch.relu(self.norm2(self.conv1(activated)))) + shortcut
