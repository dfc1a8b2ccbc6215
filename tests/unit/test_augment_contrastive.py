import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torch.nn import functional
from torchvision.transforms import RandomResizedCrop, v2
from torchvision.transforms.v2 import functional as reference

from tiny_training import HAS_CUDA, no_change, noise, view_params
from zeroshot_al.engine.runtime import generator_for
from zeroshot_al.selfsup import augment_contrastive as ours
from zeroshot_al.selfsup.augment_contrastive import contrastive_views, standardize
from zeroshot_al.selfsup.view_draws import draw_crops, draw_views

# Seeds are fixed, so a test of distributions passes always or never. This level is far below
# what a right implementation gives and far above what a wrong one does.
P_VALUE = 1e-3


@pytest.fixture
def torchvision_draws():
    """Torchvision draws from the global generator: seed it, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


@pytest.mark.parametrize(
    ("height", "width", "min_area"),
    [(32, 32, 0.08), (32, 32, 0.9), (8, 8, 0.2), (20, 40, 0.08), (60, 10, 0.5), (10, 60, 0.3)],
)
def test_crops_are_distributed_as_torchvisions(height, width, min_area, torchvision_draws):
    n = 2000
    boxes = draw_crops(n, height, width, min_area, generator_for(0)).numpy()
    image = torch.empty(3, height, width)
    get_params = RandomResizedCrop.get_params
    expected = np.array([get_params(image, [min_area, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])
    marginals = {
        "top": lambda b: b[:, 0],
        "left": lambda b: b[:, 1],
        "area": lambda b: b[:, 2] * b[:, 3],
        "aspect": lambda b: b[:, 3] / b[:, 2],
        "right": lambda b: b[:, 1] + b[:, 3],
        "bottom": lambda b: b[:, 0] + b[:, 2],
    }
    for name, marginal in marginals.items():
        assert ks_2samp(marginal(boxes), marginal(expected)).pvalue > P_VALUE, name


@pytest.mark.parametrize(("height", "width"), [(32, 32), (7, 31), (31, 7), (1, 1), (2, 9)])
def test_crops_lie_inside_the_image(height, width):
    top, left, h, w = draw_crops(2000, height, width, 0.08, generator_for(2)).unbind(dim=1)
    assert (h >= 1).all() and (w >= 1).all() and (top >= 0).all() and (left >= 0).all()
    assert (top + h <= height).all() and (left + w <= width).all()


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(60, 10, [23, 0, 13, 10]), (10, 60, [0, 23, 10, 13]), (12, 12, [0, 0, 12, 12])],
)
def test_a_crop_that_never_fits_is_the_central_box(height, width, box):
    # All of the area never fits an image outside the aspect limits.
    assert draw_crops(50, height, width, 1.0, generator_for(0)).tolist() == [box] * 50


def test_the_whole_pipeline_is_distributed_as_torchvisions(torchvision_draws):
    n = 600
    params = view_params(size_px=12)
    # Smooth images: what a border pixel blends with is then as good as its own side's.
    coarse = torch.from_numpy(noise(n, 4, 4)).permute(0, 3, 1, 2)
    images = functional.interpolate(coarse.float(), size=(16, 20), mode="bilinear").byte()
    theirs = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomResizedCrop(12, scale=(params.min_area, 1.0), antialias=False),
            v2.RandomHorizontalFlip(params.flip_rate),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=params.jitter_rate),
            v2.RandomGrayscale(params.grayscale_rate),
        ]
    )
    expected = torch.stack([theirs(image) for image in images])
    views = contrastive_views(images.permute(0, 2, 3, 1), params, generator_for(0))
    statistics = {
        "mean": lambda x: x.mean(dim=(1, 2, 3)),
        "contrast": lambda x: x.mean(dim=1).std(dim=(1, 2)),
        "colour": lambda x: x.std(dim=1).mean(dim=(1, 2)),
        "tilt": lambda x: (x[..., :6] - x[..., 6:]).mean(dim=(1, 2, 3)),
    }
    for name, statistic in statistics.items():
        assert ks_2samp(statistic(views), statistic(expected)).pvalue > P_VALUE, name


def colours():
    """Noise and flat fields, of all corners where hue and saturation have special cases."""
    random = torch.rand(6, 3, 5, 7, generator=generator_for(3))
    corners = torch.tensor(list(itertools.product((0.0, 0.5, 1.0), repeat=3)))
    return torch.cat([random, corners[:, :, None, None].expand(-1, -1, 5, 7)])


FACTORS = dict.fromkeys(("brightness", "contrast", "saturation"), (0.0, 0.3, 0.6, 1.0, 1.4, 2.5))
FACTORS["hue"] = (-0.5, -0.1, -0.01, 0.0, 0.05, 0.1, 1 / 3, 0.5)


@pytest.mark.parametrize("name", FACTORS)
def test_colour_steps_equal_torchvisions_with_a_factor_of_each_samples_own(name):
    images, factors = colours(), torch.tensor(FACTORS[name])
    x = images.repeat_interleave(len(factors), dim=0)
    factors = factors.repeat(len(images))
    result = getattr(ours, f"_{name}")(x.clone(), factors[:, None, None, None])
    adjust = getattr(reference, f"adjust_{name}")
    pairs = zip(x, factors.tolist(), strict=True)
    expected = torch.stack([adjust(image, factor) for image, factor in pairs])
    # On tensors torchvision weighs red by 0.2989 instead of the 0.299 of PIL and of the standard.
    atol = 1.1e-4 * (1 - factors).abs().clamp(min=1) if name != "hue" else torch.tensor(1e-4)
    assert ((result - expected).abs().amax(dim=(1, 2, 3)) <= atol).all()


def test_grayscale_equals_torchvisions():
    images = torch.from_numpy(noise(4))
    views = contrastive_views(images, no_change(8, grayscale_rate=1.0), generator_for(0))
    expected = reference.rgb_to_grayscale(images.permute(0, 3, 1, 2) / 255, num_output_channels=3)
    torch.testing.assert_close(views, expected, atol=1.1e-4, rtol=0)


def test_jitter_takes_its_steps_in_every_order_equally_often(monkeypatch):
    # Each step appends its digit, so that a view's value tells in which order they were taken.
    for digit, step in enumerate(("_brightness", "_contrast", "_saturation", "_hue"), start=1):
        monkeypatch.setattr(ours, step, lambda x, factor, digit=digit: x * 10 + digit)
    n = 12_000
    params = view_params(jitter_rate=0.75)
    drawn = draw_views(n, 1, 1, params, generator_for(0))
    codes = ours._jitter(torch.zeros(n, 3, 1, 1), drawn.jitter_order, drawn.strengths)[:, 0, 0, 0]
    jittered = codes[codes != 0]
    assert len(jittered) / n == pytest.approx(0.75, abs=0.015)  # 4 standard deviations
    values, counts = jittered.unique(return_counts=True)
    orders = sorted(int("".join(order)) for order in itertools.permutations("1234"))
    assert values.long().tolist() == orders
    assert chisquare(counts.numpy()).pvalue > P_VALUE


@pytest.mark.parametrize("strength", [0.0, 0.4, 0.8, 1.5])
def test_factors_fill_torchvisions_ranges_and_are_independent(monkeypatch, strength):
    hue = min(strength, 0.5)
    seen = {}

    def recorder(name):
        def step(x, factor):
            # A view's value is its index, which leads from the groups back to the samples.
            seen.setdefault(name, torch.full((3000,), torch.nan))[x[:, 0, 0, 0].long()] = (
                factor.flatten()
            )
            return x

        return step

    names = ("brightness", "contrast", "saturation", "hue")
    for name in names:
        monkeypatch.setattr(ours, f"_{name}", recorder(name))
    params = view_params(
        jitter_rate=1.0, brightness=strength, contrast=strength, saturation=strength, hue=hue
    )
    index = torch.arange(3000.0)[:, None, None, None].repeat(1, 3, 1, 1)
    drawn = draw_views(3000, 1, 1, params, generator_for(0))
    ours._jitter(index, drawn.jitter_order, drawn.strengths)
    theirs = v2.ColorJitter(strength, strength, strength, hue)
    for name in names:
        low, high = getattr(theirs, name) or ((0, 0) if name == "hue" else (1, 1))
        values = seen[name].numpy()
        assert not np.isnan(values).any()
        assert values.min() >= low - 1e-6 and values.max() <= high + 1e-6
        if high > low:
            assert kstest(values, "uniform", (low, high - low)).pvalue > P_VALUE
    if strength:
        correlations = np.corrcoef([seen[name].numpy() for name in names])[np.triu_indices(4, 1)]
        assert np.abs(correlations).max() < 4 / np.sqrt(3000)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_rates_of_flip_and_grayscale(rate):
    n = 4000
    image = torch.zeros(8, 8, 3, dtype=torch.uint8)
    image[:, 4:] = torch.tensor([200, 100, 0])  # dark left, orange right
    images = image.expand(n, -1, -1, -1)
    flipped = contrastive_views(images, no_change(8, flip_rate=rate), generator_for(0))
    flips = flipped[:, 0, 0, 0] > 0.5
    gray = contrastive_views(images, no_change(8, grayscale_rate=rate), generator_for(0))
    grays = gray[:, 0, 0, 7] == gray[:, 2, 0, 7]
    for share in (flips, grays):
        limit = 4 * np.sqrt(rate * (1 - rate) / n)
        assert abs(float(share.double().mean()) - rate) <= limit


@pytest.mark.parametrize(("size", "flip_rate"), [(8, 0.0), (13, 0.0), (32, 0.0), (8, 1.0)])
def test_with_everything_off_the_image_comes_back_or_its_mirror_image(size, flip_rate):
    images = torch.from_numpy(noise(5, size, size))
    views = contrastive_views(images, no_change(size, flip_rate=flip_rate), generator_for(0))
    expected = images.permute(0, 3, 1, 2) / 255
    expected = expected.flip(3) if flip_rate else expected
    torch.testing.assert_close(views, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 16), (9, 12, 12), (12, 9, 6)])
def test_resizing_is_bilinear(height, width, size):
    images = torch.from_numpy(noise(3, height, width))
    # The whole image of any aspect: drawn boxes keep to 3/4 and 4/3.
    box = torch.tensor([[0, 0, height, width]]).expand(3, -1)
    views = ours._resized_crop(images, box, torch.zeros(3, dtype=torch.bool), size)
    source = images.permute(0, 3, 1, 2) / 255
    expected = functional.interpolate(source, size=(size, size), mode="bilinear")
    torch.testing.assert_close(views, expected, atol=2e-5, rtol=0)


def test_a_crop_shows_its_own_part_of_the_image():
    images = torch.from_numpy(noise(2, 10, 14))
    box = torch.tensor([[2, 3, 6, 6], [4, 8, 6, 6]])
    views = ours._resized_crop(images, box, torch.tensor([False, True]), 6)
    source = images.permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(views[0], source[0, :, 2:8, 3:9], atol=2e-5, rtol=0)
    torch.testing.assert_close(views[1], source[1, :, 4:10, 8:14].flip(2), atol=2e-5, rtol=0)


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 8), (16, 24, 12), (30, 9, 20)])
def test_views_have_their_shape_and_range(height, width, size):
    images = torch.from_numpy(noise(64, height, width))
    before = images.clone()
    views = contrastive_views(
        images, view_params(size_px=size, brightness=1.5, contrast=1.5), generator_for(0)
    )
    assert views.shape == (64, 3, size, size)
    assert views.dtype == torch.float32
    # Hue is v - c f of v <= 1 and rounds; all else is clamped.
    assert views.min() >= -1e-6 and views.max() <= 1 + 1e-6
    assert torch.equal(images, before)


def test_views_are_a_function_of_the_generator():
    images = torch.from_numpy(noise(32))
    first, again, other = (
        contrastive_views(images, view_params(), generator_for(0, seed)) for seed in (1, 1, 2)
    )
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(first, other)
    assert len(first.flatten(1).unique(dim=0)) == 32


def test_standardize_is_per_channel_and_channels_last():
    views = torch.rand(4, 3, 5, 6, generator=generator_for(0))
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    result = standardize(views, mean, std)
    torch.testing.assert_close(result, reference.normalize(views, mean.tolist(), std.tolist()))
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_views_are_those_of_the_cpu_on_a_gpu():
    images = torch.from_numpy(noise(64, 32, 32))
    params = view_params(size_px=32)
    views = contrastive_views(images.cuda(), params, generator_for(0))
    expected = contrastive_views(images, params, generator_for(0))
    torch.testing.assert_close(views.cpu(), expected, atol=1e-4, rtol=0)


def test_some_rows_have_the_views_that_they_have_among_all():
    images, params = torch.from_numpy(noise(32)), view_params(blur_rate=0.5, solarize_rate=0.5)
    everything = contrastive_views(images, params, generator_for(0))
    drawn = generator_for(0)
    draw_views(*images.shape[:3], params, drawn)
    for rows in (torch.arange(8, 24), torch.tensor([0, 3, 31])):
        generator = generator_for(0)
        part = contrastive_views(images, params, generator, rows)
        torch.testing.assert_close(part, everything[rows], atol=1e-6, rtol=0)
        assert torch.equal(generator.get_state(), drawn.get_state())
