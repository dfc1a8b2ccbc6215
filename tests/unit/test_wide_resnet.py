import pytest
import torch
from torch import nn

from zeroshot_al.base.errors import InputError
from zeroshot_al.engine.wide_resnet import WideResNet


@pytest.mark.parametrize(
    ("depth", "width", "millions"),
    # Zagoruyko and Komodakis, "Wide Residual Networks", 2016, tables 3 and 4.
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (28, 10, 36.5), (22, 8, 17.2), (16, 8, 11.0)],
)
def test_the_published_numbers_of_parameters(depth, width, millions):
    with torch.device("meta"):
        network = WideResNet(depth, width, 10)
    assert round(count(network) / 1e6, 1) == millions


def test_the_exact_numbers_of_parameters():
    with torch.device("meta"):
        # 36,479,194: the count that implementations of the paper's largest network agree on.
        assert count(WideResNet(28, 10, 10)) == 36_479_194
        assert count(WideResNet(16, 1, 10)) == by_hand(16, 1, 10)
        assert count(WideResNet(10, 3, 7)) == by_hand(10, 3, 7)


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def by_hand(depth, width, n_classes):
    """Count from the paper's table 1: 3x3 convolutions, BatchNorm before each, 1x1 shortcuts."""
    total, n_in = 3 * 16 * 9, 16
    for group in range(3):
        n_out = 16 * width * 2**group
        for _ in range((depth - 4) // 6):
            total += 2 * n_in + n_in * n_out * 9 + 2 * n_out + n_out * n_out * 9
            if n_in != n_out:
                total += n_in * n_out
            n_in = n_out
    return total + 2 * n_in + n_in * n_classes + n_classes


@pytest.mark.parametrize("depth", [-2, 0, 4, 9, 11, 15, 18, 27])
def test_a_depth_that_is_not_6n_plus_4_is_refused(depth):
    with pytest.raises(InputError, match=f"depth {depth} is not 6n \\+ 4"):
        WideResNet(depth, 1, 10)


@pytest.mark.parametrize(
    ("size", "width", "stem_stride", "maps"),
    [
        ((32, 32), 1, 1, (8, 8)),
        ((8, 8), 2, 1, (2, 2)),
        ((17, 30), 1, 1, (5, 8)),
        ((32, 32), 1, 2, (4, 4)),
    ],
)
def test_shapes(size, width, stem_stride, maps):
    network = WideResNet(10, width, 7, stem_stride).eval()
    images = torch.zeros(2, 3, *size)
    with torch.no_grad():
        assert network.features[:-2](images).shape == (2, 64 * width, *maps)
        assert network.features(images).shape == (2, network.n_features) == (2, 64 * width)
        assert network(images).shape == (2, 7)


@pytest.mark.parametrize(("depth", "width"), [(10, 2), (16, 4), (28, 10)])
def test_depth_counts_the_convolutions(depth, width):
    with torch.device("meta"):
        network = WideResNet(depth, width, 10)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth


@pytest.mark.parametrize("whitening", [False, True])
def test_every_weight_learns_but_those_that_whiten(whitening):
    network = WideResNet(10, 1, 4, whitening=whitening)
    network(torch.rand(4, 3, 8, 8)).square().sum().backward()
    weights = list(network.named_parameters())
    if whitening:
        name, weight = weights.pop(0)
        assert name == "features.0.weight" and weight.shape == (24, 3, 2, 2) and weight.grad is None
    for name, weight in weights:
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
