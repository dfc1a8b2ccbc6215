import numpy as np
import pytest
import torch

from tiny_training import HAS_CUDA, noise
from zeroshot_al.engine import pixels
from zeroshot_al.engine.pixels import batch_reader, pixel_statistics

CPU = torch.device("cpu")


def saved(tmp_path, images):
    """Save images and return them as a read-only memory map, as a pool's are."""
    np.save(tmp_path / "images.npy", images, allow_pickle=False)
    return np.load(tmp_path / "images.npy", mmap_mode="r", allow_pickle=False)


def test_a_batch_is_read_channel_by_channel_in_the_order_asked_for(tmp_path):
    images = noise(20, 5, 7)
    indices = torch.tensor([3, 19, 3, 0])
    batch = batch_reader(saved(tmp_path, images), CPU)(indices)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    assert np.array_equal(batch, images[[3, 19, 3, 0]].transpose(0, 3, 1, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
@pytest.mark.parametrize("fits", [True, False])
def test_a_gpu_reads_the_same(tmp_path, monkeypatch, fits):
    images = saved(tmp_path, noise(50, 5, 7))
    monkeypatch.setattr(pixels, "BLOCK", 8)
    if not fits:
        monkeypatch.setattr(pixels, "_fit_on_gpu", lambda images, device: False)
    indices = torch.randperm(50)
    batch = batch_reader(images, torch.device("cuda"))(indices)
    assert batch.is_cuda
    assert torch.equal(batch.cpu(), batch_reader(images, CPU)(indices))


@pytest.mark.parametrize("shape", [(1, 1, 2), (50, 8, 8), (7, 31, 5)])
def test_statistics_equal_numpy_in_float64(shape, monkeypatch):
    monkeypatch.setattr(pixels, "BLOCK", 8)
    images = noise(*shape) // np.array([1, 2, 50], dtype=np.uint8)
    mean, std = pixel_statistics(images)
    assert mean.dtype == std.dtype == torch.float32
    levels = images.reshape(-1, 3).astype(np.float64) / 255
    np.testing.assert_allclose(mean, levels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(std, levels.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize("level", [0, 1, 77, 255])
def test_a_constant_channel_is_not_divided_by_zero(level):
    images = noise(5)
    images[..., 1] = level
    mean, std = pixel_statistics(images)
    assert mean[1] == pytest.approx(level / 255)
    assert std[1] == 1
