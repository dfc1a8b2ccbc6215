import numpy as np
import pytest
import torch
from torch import nn

from tiny_training import noise
from zeroshot_al.engine.pixels import pixel_statistics
from zeroshot_al.engine.whitening import Whitening, fit_whitening


def correlated(n=60, side=12, seed=0):
    """Images whose neighbouring pixels and channels are alike, as in photos."""
    images = noise(n, side + 1, side + 1, seed).astype(np.float64)
    images = images[:, 1:, 1:] + images[:, :-1, 1:] + images[:, :-1, :-1]
    images[..., 1] += images[..., 0]
    return (images / images.max() * 255).astype(np.uint8)


def fitted(images, stride=1):
    whitening = Whitening(stride)
    whitening.fit(images, *pixel_statistics(images))
    return whitening


def outputs(whitening, images):
    """Float64 (24, n_patches)."""
    mean, std = pixel_statistics(images)
    pixels = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    return whitening(pixels).detach().double().transpose(0, 1).flatten(1)


def test_the_covariance_of_the_outputs_is_the_identity():
    images = correlated()
    channels = outputs(fitted(images), images)
    covariance = torch.cov(channels[:12], correction=0)
    torch.testing.assert_close(covariance, torch.eye(12).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(channels[12:], -channels[:12])
    # The same by a slow reference, and the inputs are far from white.
    mean, std = (x.numpy() for x in pixel_statistics(images))
    patches = np.stack(
        [
            ((image[y : y + 2, x : x + 2] / 255 - mean) / std).transpose(2, 0, 1).ravel()
            for image in images
            for y in range(11)
            for x in range(11)
        ]
    )
    expected = np.cov(patches.T, bias=True)
    assert np.abs(expected - np.diag(np.diag(expected))).max() > 0.3
    filters = fitted(images).weight[:12].flatten(1).double().numpy()
    np.testing.assert_allclose(filters @ expected @ filters.T, np.eye(12), atol=0.03)


def test_of_many_images_a_part_is_read_that_spans_all_of_them(monkeypatch):
    monkeypatch.setattr("zeroshot_al.engine.whitening._N_IMAGES", 10)
    monkeypatch.setattr("zeroshot_al.engine.whitening._BLOCK", 3)
    images = correlated()
    statistics = pixel_statistics(images)
    few, same = Whitening(), Whitening()
    few.fit(images, *statistics)
    monkeypatch.setattr("zeroshot_al.engine.whitening._BLOCK", 100)
    same.fit(images[[0, 6, 13, 19, 26, 32, 39, 45, 52, 59]], *statistics)
    torch.testing.assert_close(few.weight, same.weight)


def test_images_of_one_colour_give_finite_filters():
    assert fitted(np.full((5, 4, 4, 3), 7, dtype=np.uint8)).weight.isfinite().all()


@pytest.mark.parametrize(("stride", "maps"), [(1, 11), (2, 6)])
def test_the_filters_are_found_within_a_network_and_not_trained(stride, maps):
    images = correlated()
    network = nn.Sequential(nn.Identity(), nn.Sequential(Whitening(stride)))
    fit_whitening(network, images, *pixel_statistics(images))
    (weight,) = network.parameters()
    assert torch.equal(weight, fitted(images).weight)
    assert not weight.requires_grad
    assert network(torch.zeros(1, 3, 12, 12)).shape == (1, 24, maps, maps)
