"""A first convolution that is not trained: it whitens the patches of the training images."""

import numpy as np
import torch
from torch import Tensor, nn

_N_IMAGES = 4096  # hold some millions of patches, where the covariance has 144 entries
_BLOCK = 128  # images looked at together
_EPSILON = 5e-4  # added to each variance, so that noise is not blown up


class Whitening(nn.Conv2d):
    """Patches on the eigenvectors of their covariance, each divided by its standard deviation.

    Every output comes twice, with either sign, for an activation that keeps one sign. The filters
    are random until `fit`, and no optimiser changes them.

    Parameters
    ----------
    stride
        Of the patches, which have 2 x 2 pixels.

    References
    ----------
    Page, "How to Train Your ResNet 8: Bag of Tricks", 2019; Jordan, "94% on CIFAR-10 in 3.29
    Seconds on a Single GPU", 2024, section 3.2.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__(3, 2 * 3 * 2 * 2, 2, stride, bias=False)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: np.ndarray, mean: Tensor, std: Tensor) -> None:
        """Take the filters from uint8 (n, h, w, 3) images, standardised by (3,) mean and std.

        Of many images a part is read, at equal distances. They are computed on the CPU,
        whatever the device.
        """
        chosen = np.unique(np.linspace(0, len(images) - 1, _N_IMAGES, dtype=np.int64))
        n, total = 0, torch.zeros(12, dtype=torch.float64)
        outer = torch.zeros((12, 12), dtype=torch.float64)
        for start in range(0, len(chosen), _BLOCK):
            batch = torch.from_numpy(images[chosen[start : start + _BLOCK]])
            pixels = ((batch.float() / 255 - mean.cpu()) / std.cpu()).permute(0, 3, 1, 2)
            patches = pixels.unfold(2, 2, 1).unfold(3, 2, 1)  # (b, 3, h - 1, w - 1, 2, 2)
            patches = patches.permute(1, 4, 5, 0, 2, 3).reshape(12, -1)
            total += patches.sum(dim=1, dtype=torch.float64)
            outer += patches @ patches.T
            n += patches.shape[1]
        covariance = outer / n - torch.outer(total / n, total / n)
        variances, vectors = torch.linalg.eigh(covariance)
        filters = (vectors / (variances.clamp_min(0) + _EPSILON).sqrt()).T.flip(0)
        filters = torch.cat([filters, -filters]).reshape(self.weight.shape)
        self.weight.copy_(filters)


def fit_whitening(network: nn.Module, images: np.ndarray, mean: Tensor, std: Tensor) -> None:
    """Fit every `Whitening` of a network: `images`, `mean` and `std` as of its `fit`."""
    for module in network.modules():
        if isinstance(module, Whitening):
            module.fit(images, mean, std)
