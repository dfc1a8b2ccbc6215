"""Published data sets in torchvision's formats and as local copies in class folders."""

import gzip
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets as tv
from PIL import Image

from archives import NAMES, cifar_archive, images_and_targets, md5, save_as_folder, tiny_cifar10
from refusals import refusal
from zeroshot_al.base.pool import save_pool
from zeroshot_al.sources.archives import read_torchvision
from zeroshot_al.sources.canonical import (
    RawImages,
    canonical_pool,
    images_fingerprint,
    pixel_digests,
)
from zeroshot_al.sources.cifar import read_cifar
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams
from zeroshot_al.sources.published import Published, read_local_copy

SHARED = Path(__file__).parents[3] / "shared" / "cifar10"
REMEDY = "; put a lossless copy into {}, or remove it to have tiny downloaded"
TINY = Published("Tiny", "tiny.tar.gz", 30, 12, 3, 32)


@pytest.fixture
def tiny():
    return tiny_cifar10()


def pool_files(pool, directory):
    save_pool(pool, directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# ---------------------------------------------------------------------------- formats


def test_an_archive_and_a_local_copy_give_the_same_bytes(tiny, tmp_path):
    archive, description = tiny
    (tmp_path / "tiny.tar.gz").write_bytes(archive)
    raw = read_cifar(description, tmp_path)
    first, targets = images_and_targets(1, 20)
    assert np.array_equal(raw.images[:20], first)
    assert raw.labels[:20] == [NAMES[target] for target in targets]
    assert raw.splits == ["train"] * 30 + ["test"] * 12
    save_as_folder(raw, tmp_path / "copy")
    from_archive = pool_files(canonical_pool(raw), tmp_path / "a")
    copy = read_local_copy("tiny", tmp_path / "copy", TINY, tmp_path / "b")
    assert Path(copy.images.filename) == tmp_path / "b/images.npy"  # never in memory as a whole
    assert pool_files(copy, tmp_path / "b") == from_archive
    assert sorted(from_archive) == ["images.npy", "index.csv"]
    assert from_archive["index.csv"].count(b"airplane") == 7 + 4 + 4


def test_cifar100_has_the_fine_labels(tmp_path):
    batches = {"train": images_and_targets(1, 6), "test": images_and_targets(2, 3)}
    archive, description = cifar_archive(batches, NAMES, n_labels=2)
    (tmp_path / "tiny.tar.gz").write_bytes(archive)
    raw = read_cifar(description, tmp_path)
    assert raw.labels == NAMES * 3


def test_svhn_zero_is_written_as_ten(tmp_path):
    from scipy.io import savemat

    split_list, images = {}, {}
    for split in ("train", "test"):
        images[split], _ = images_and_targets(len(split), 4)
        path = tmp_path / f"{split}.mat"
        targets = np.array([[10], [1], [9], [10]], np.uint8)
        savemat(path, {"X": images[split].transpose(1, 2, 3, 0), "y": targets})
        split_list[split] = ["http://127.0.0.1:9/", path.name, md5(path.read_bytes())]
    raw = read_torchvision(type("Tiny", (tv.SVHN,), {"split_list": split_list}), tmp_path)
    assert np.array_equal(raw.images, np.concatenate([images["train"], images["test"]]))
    assert raw.labels == ["0", "1", "9", "0"] * 2
    assert canonical_pool(raw).images.flags.c_contiguous


@pytest.fixture
def tiny_fashion(tmp_path):
    """Idx files as Fashion-MNIST's, gzipped where torchvision looks for them."""
    resources = []
    folder = tmp_path / "TinyFashion" / "raw"
    folder.mkdir(parents=True)
    for name, _ in tv.FashionMNIST.resources:
        n_samples = 6 if name.startswith("train") else 3
        if "images" in name:
            images, _ = images_and_targets(n_samples, n_samples, 28)
            header = bytes([0, 0, 8, 3]) + b"".join(
                size.to_bytes(4, "big") for size in (n_samples, 28, 28)
            )
            data = header + images[..., 0].tobytes()
        else:
            data = bytes([0, 0, 8, 1]) + n_samples.to_bytes(4, "big") + bytes(range(n_samples))
        (folder / name).write_bytes(gzip.compress(data))
        resources.append((name, md5((folder / name).read_bytes())))
    attributes = {"resources": resources, "mirrors": ["http://127.0.0.1:9/"]}
    return type("TinyFashion", (tv.FashionMNIST,), attributes)


def test_fashion_mnist_is_gray_in_three_channels(tiny_fashion, tmp_path):
    raw = read_torchvision(tiny_fashion, tmp_path)
    assert raw.images.shape == (9, 28, 28, 3)
    train, _ = images_and_targets(6, 6, 28)
    for channel in range(3):
        assert np.array_equal(raw.images[:6, ..., channel], train[..., 0])
    assert raw.labels[:2] == ["T-shirt/top", "Trouser"]


@pytest.mark.parametrize("keep", [0, 100, -5])
def test_an_extraction_broken_off_is_refused(tiny_fashion, tmp_path, keep):
    read_torchvision(tiny_fashion, tmp_path)
    path = tmp_path / "TinyFashion" / "raw" / Path(tiny_fashion.resources[0][0]).stem
    path.write_bytes(path.read_bytes()[:keep])
    assert refusal(read_torchvision, tiny_fashion, tmp_path)


def test_a_folder_name_stands_for_the_label_with_a_slash(tiny_fashion, tmp_path):
    raw = read_torchvision(tiny_fashion, tmp_path)
    train = [i for i in range(6) if raw.labels[i] in raw.labels[6:]]
    keep = [*train, 6, 7, 8]
    raw = RawImages(raw.images[keep], [raw.splits[i] for i in keep], [raw.labels[i] for i in keep])
    save_as_folder(raw, tmp_path / "copy")
    fashion = Published("", "", 3, 3, 3, 28)
    copy = read_local_copy("fashion_mnist", tmp_path / "copy", fashion, tmp_path / "b")
    assert pool_files(copy, tmp_path / "b") == pool_files(canonical_pool(raw), tmp_path / "a")


# ---------------------------------------------------------------------------- local copies


@pytest.fixture
def copy(tiny, tmp_path):
    (tmp_path / "tiny.tar.gz").write_bytes(tiny[0])
    save_as_folder(read_cifar(tiny[1], tmp_path), tmp_path / "copy")
    return tmp_path / "copy"


def test_a_copy_that_is_not_whole_is_refused_before_it_is_decoded(copy):
    def refused():
        told = refusal(read_local_copy, "tiny", copy, TINY, Path("unused"))
        assert told.endswith(REMEDY.format(copy))
        return told

    for split in ("train", "test"):
        (copy / split / "cat").rename(copy / split / "x")
        for path in list((copy / split / "x").iterdir()):
            path.rename(copy / split / "bird" / f"x{path.name}")
        (copy / split / "x").rmdir()
    held = "holds 30 + 12 images of 2 classes instead of 30 + 12 images of 3 classes"
    assert held in refused()
    next((copy / "train/bird").iterdir()).unlink()
    assert "holds 29 + 12 images of 2 classes" in refused()


@pytest.mark.parametrize("change", ["size", "damage"])
def test_a_copy_with_a_changed_file_is_refused(copy, change):
    path = next((copy / "test/bird").iterdir())
    if change == "size":
        Image.open(path).resize((28, 30)).save(path)
        expected = f"{path} has 28 x 30 pixels and those of tiny 32 x 32"
    else:
        path.write_bytes(path.read_bytes()[:100])
        expected = f"{path} cannot be read (damaged or truncated ("
    told = refusal(read_local_copy, "tiny", copy, TINY, copy.parent / "pool")
    assert told.startswith(expected)
    assert told.endswith(REMEDY.format(copy))


@pytest.mark.parametrize("change", ["pixel", "label"])
def test_a_copy_with_something_changed_is_told(copy, change):
    pool, out = read_local_copy("tiny", copy, TINY, copy.parent / "a"), copy.parent / "b"
    true = images_fingerprint(pixel_digests(pool.images), pool.splits, pool.labels)
    true = Published("", "", 30, 12, 3, 32, true)
    read_local_copy("tiny", copy, true, out)
    path = next((copy / "train" / "cat").iterdir())
    if change == "pixel":
        pixels = np.asarray(Image.open(path)).copy()
        pixels[0, 0, 0] ^= 1
        Image.fromarray(pixels).save(path)
    else:
        path.rename(copy / "train" / "bird" / "x.png")
    assert "are not those that were published" in refusal(read_local_copy, "tiny", copy, true, out)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared copy of CIFAR-10 is not there")
def test_cifar10_from_its_copy_and_from_an_archive_gives_the_same_bytes(tmp_path):
    copy = tmp_path / "raw" / "cifar10"
    for path in SHARED.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            archive.extractall(copy, filter="data")
    pool = load_source(DataParams("cifar10", None), tmp_path / "raw", tmp_path / "b")
    assert pool.n_train == 50_000
    pixels = pool.train_images.mean((0, 1, 2)) / 255
    assert pixels == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)

    # The same images as in the archive: five batches and a test batch, in any order.
    order = np.random.default_rng(0).permutation(50_000)
    batches = {
        f"data_{i}": (pool.train_images[part], pool.train_labels[part])
        for i, part in enumerate(np.split(order, 5))
    }
    batches["test"] = (pool.test_images[::-1], pool.test_labels[::-1])
    archive, description = cifar_archive(batches, list(pool.classes))
    (tmp_path / "tiny.tar.gz").write_bytes(archive)
    raw = read_cifar(description, tmp_path)
    assert not np.array_equal(raw.images[:100], pool.images[:100])
    assert pool_files(canonical_pool(raw), tmp_path / "a") == pool_files(pool, tmp_path / "b")
