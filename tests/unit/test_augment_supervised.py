import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from tiny_training import HAS_CUDA, noise
from zeroshot_al.base.errors import InputError
from zeroshot_al.classifier.augment_supervised import SupervisedViews, normalize
from zeroshot_al.engine.runtime import generator_for

MEAN, STD = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])


def all_views(image, crop_px, pad_px, flips, cutout_px):
    """Every view that an image can give, one pixel at a time, by (top, left, flip, centre)."""
    height, width, _ = image.shape
    starts = itertools.product(
        range(height + 2 * pad_px - crop_px + 1), range(width + 2 * pad_px - crop_px + 1)
    )
    centres = list(itertools.product(range(crop_px), repeat=2)) if cutout_px else [(0, 0)]
    views = {}
    for (top, left), flip, centre in itertools.product(starts, flips, centres):
        view = np.zeros((3, crop_px, crop_px))
        for row, column in itertools.product(range(crop_px), repeat=2):
            # DeVries and Taylor: a square around the centre, of which a part may lie outside.
            offsets = row - centre[0] + cutout_px // 2, column - centre[1] + cutout_px // 2
            if all(0 <= offset < cutout_px for offset in offsets):
                continue  # cut out: the mean colour, which is 0 after standardising
            y = top + row - pad_px
            x = left + (crop_px - 1 - column if flip else column) - pad_px
            inside = 0 <= y < height and 0 <= x < width
            pixel = image[y, x] / 255 if inside else np.zeros(3)
            view[:, row, column] = (pixel - MEAN.numpy()) / STD.numpy()
        views[top, left, flip, centre] = view
    return views


@pytest.mark.parametrize(
    ("height", "width", "crop_px", "pad_px", "flip_rate", "cutout_px"),
    [(5, 5, 5, 1, 0.5, 3), (5, 5, 5, 1, 0.5, 2), (4, 6, 4, 0, 0.5, 6), (4, 5, 3, 1, 0.0, 0)],
)
def test_views_are_drawn_uniformly_from_all_that_a_slow_reference_makes(
    height, width, crop_px, pad_px, flip_rate, cutout_px
):
    n = 4000
    images = noise(2, height, width)
    views = SupervisedViews(
        torch.from_numpy(images), crop_px, pad_px, flip_rate, cutout_px, MEAN, STD
    )
    batch = views(torch.ones(n, dtype=torch.long), generator_for(0))
    assert batch.shape == (n, 3, crop_px, crop_px)
    assert batch.dtype == torch.float32
    flips = (False, True) if flip_rate else (False,)
    expected = all_views(images[1], crop_px, pad_px, flips, cutout_px)
    candidates = torch.from_numpy(np.stack(list(expected.values()))).float().flatten(1)
    # Not by a matrix product, whose rounding hides small differences.
    distances = torch.cdist(
        batch.flatten(1), candidates, compute_mode="donot_use_mm_for_euclid_dist"
    )
    distance, match = distances.min(dim=1)
    assert distance.max() < 1e-4
    if cutout_px > crop_px:
        return  # different centres then give the same view
    drawn = [list(expected)[i] for i in match]
    for part in range(4):
        values = sorted({key[part] for key in expected})
        counts = [sum(draw[part] == value for draw in drawn) for value in values]
        assert len(values) == 1 or chisquare(counts).pvalue > 1e-3, (
            f"part {part} of (top, left, flip, centre)"
        )


def test_each_view_is_of_its_own_image():
    images = torch.arange(0, 250, 10, dtype=torch.uint8)[:, None, None, None].repeat(1, 4, 4, 3)
    views = SupervisedViews(images, 4, 0, 0.5, 0, torch.zeros(3), torch.ones(3))
    indices = torch.tensor([3, 24, 0, 3, 11])
    shown = views(indices, generator_for(0))[:, 0, 0, 0] * 255
    assert shown.round().long().tolist() == [30, 240, 0, 30, 110]


def test_flips_keep_their_rate():
    images = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    images[:, :, 2:] = 255
    views = SupervisedViews(images, 4, 0, 0.25, 0, torch.zeros(3), torch.ones(3))
    flipped = views(torch.zeros(8000, dtype=torch.long), generator_for(0))[:, 0, 0, 0]
    assert float(flipped.mean()) == pytest.approx(0.25, abs=0.02)  # 4 standard deviations


def test_views_are_a_function_of_the_generator_and_leave_the_images():
    images = torch.from_numpy(noise(6))
    before = images.clone()
    views = SupervisedViews(images, 8, 2, 0.5, 4, MEAN, STD)
    indices = torch.arange(6)
    first, again, other = (views(indices, generator_for(seed)) for seed in (1, 1, 2))
    assert first.numpy().tobytes() == again.numpy().tobytes()
    assert not torch.equal(first, other)
    assert torch.equal(images, before)
    assert first.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width", "pad_px"), [(8, 8, 0), (8, 20, 1), (20, 8, 1)])
def test_a_crop_larger_than_the_padded_image_is_refused(height, width, pad_px):
    images = torch.from_numpy(noise(1, height, width))
    fits = 8 + 2 * pad_px
    SupervisedViews(images, fits, pad_px, 0.5, 0, MEAN, STD)
    with pytest.raises(InputError, match=f"crop_px {fits + 1} .* {fits} pixels; lower it"):
        SupervisedViews(images, fits + 1, pad_px, 0.5, 0, MEAN, STD)


def test_normalize_is_per_channel_and_channels_last():
    images = noise(3, 4, 6)
    result = normalize(torch.from_numpy(images), MEAN, STD)
    expected = (images / 255 - MEAN.double().numpy()) / STD.double().numpy()
    np.testing.assert_allclose(result.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_views_are_those_of_the_cpu_on_a_gpu():
    images = torch.from_numpy(noise(64, 32, 32))
    on_cpu, on_gpu = (
        SupervisedViews(x, 32, 4, 0.5, 16, MEAN, STD)(torch.arange(64), generator_for(0)).cpu()
        for x in (images, images.cuda())
    )
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-5, rtol=0)
