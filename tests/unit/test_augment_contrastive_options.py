"""The augmentations that are off in every profile: blur and solarize."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from tiny_training import no_change, noise, view_params
from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.selfsup import augment_contrastive as ours
from zeroshot_al.selfsup.augment_contrastive import contrastive_views


@pytest.mark.parametrize("size", [8, 16, 40, 64])
def test_blur_is_torchvisions_with_a_sigma_of_each_samples_own(size):
    x = torch.rand(5, 3, size, size, generator=generator_for(0))
    sigmas_px = torch.linspace(0.1, 2.0, 5)
    result = ours._blur(x.clone(), sigmas_px)
    kernel_px = 2 * max(1, size // 20) + 1
    for view, blurred, sigma_px in zip(x, result, sigmas_px.tolist(), strict=True):
        expected = reference.gaussian_blur(view, [kernel_px, kernel_px], [sigma_px, sigma_px])
        torch.testing.assert_close(blurred, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("option", ["blur_rate", "solarize_rate"])
def test_rates(option, rate):
    n = 3000
    images = torch.from_numpy(noise(1)).expand(n, -1, -1, -1)
    views = contrastive_views(images, no_change(8, **{option: rate}), generator_for(0))
    plain = contrastive_views(images[:1], no_change(8), generator_for(0))
    changed = (views - plain).abs().amax(dim=(1, 2, 3)) > 1e-3
    # A blur of 0.1 pixels changes nothing that can be seen.
    unseen = 0.12 if option == "blur_rate" else 0
    share = float(changed.double().mean())
    limit = 4 * np.sqrt(rate * (1 - rate) / n)
    assert rate * (1 - unseen) - limit <= share <= rate + limit


def test_solarize_equals_torchvisions():
    images = torch.from_numpy(noise(4))
    views = contrastive_views(images, no_change(8, solarize_rate=1.0), generator_for(0))
    plain = contrastive_views(images, no_change(8), generator_for(0))
    torch.testing.assert_close(views, reference.solarize(plain, 0.5))


def test_what_is_off_draws_nothing():
    # MoCo's shuffle comes from the same generator: it stays what it was without the options.
    images = torch.from_numpy(noise(8))
    drawn = generator_for(0)
    contrastive_views(images, view_params(), drawn)
    same, other = generator_for(0), generator_for(0)
    contrastive_views(images, view_params(blur_rate=0.0, solarize_rate=0.0), same)
    contrastive_views(images, view_params(blur_rate=0.5), other)
    assert torch.equal(same.get_state(), drawn.get_state())
    assert not torch.equal(other.get_state(), drawn.get_state())
