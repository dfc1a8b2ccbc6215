"""ResNets for small images, taken apart: their body without the last layer."""

import torch
from torch import Tensor, nn

BLOCKS = {"resnet-9": (1, 1, 1, 1), "resnet-18": (2, 2, 2, 2), "resnet-34": (3, 4, 6, 3)}
"""Blocks of two 3x3 convolutions, by stage; resnet-50 has resnet-34's numbers of bottlenecks."""


def cifar_resnet(name: str, width: float, stem_stride: int = 1) -> tuple[nn.Module, nn.Module, int]:
    """Return stem, stages and the number of channels of a ResNet with the CIFAR stem.

    `width` multiplies the 64 channels of the first stage; no max-pooling follows the stem's 3x3
    convolution.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", 2016, table 1; resnet-9 has one block
    a stage. The stem: Chen et al., "A Simple Framework for Contrastive Learning" (SimCLR), 2020,
    appendix B.9.
    """
    expansion = 4 if name == "resnet-50" else 1
    n_channels = int(64 * width)
    stem = nn.Sequential(
        nn.Conv2d(3, n_channels, 3, stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(n_channels),
        nn.ReLU(inplace=True),
    )
    stages, n_in = nn.Sequential(), n_channels
    for stage, n_blocks in enumerate(BLOCKS[name if expansion == 1 else "resnet-34"]):
        n_out = n_channels * 2**stage * expansion
        blocks = nn.Sequential()
        for block in range(n_blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            blocks.append(_Block(n_in, n_out, stride, expansion))
            n_in = n_out
        stages.append(blocks)
    # The last layer, not used: its draws come before those of the heads, as in earlier versions.
    nn.Linear(n_in, 10)
    return stem, stages, n_in


class _Block(nn.Module):
    """Two 3x3 convolutions, or one between two 1x1 ones (expansion 4), and the shortcut."""

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        n_mid = n_out // expansion
        shapes = [(n_in, n_mid, 3, stride), (n_mid, n_out, 3, 1)]
        if expansion > 1:
            shapes = [(n_in, n_mid, 1, 1), (n_mid, n_mid, 3, stride), (n_mid, n_out, 1, 1)]
        self.n_convolutions = len(shapes)
        for number, (before, after, side, step) in enumerate(shapes, 1):
            convolution = nn.Conv2d(before, after, side, step, padding=side // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut.append(nn.Conv2d(n_in, n_out, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for number in range(1, self.n_convolutions + 1):
            if number > 1:
                out = torch.relu(out)
            out = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(out))
        return torch.relu(out + self.shortcut(x))
