"""Small genuine archives in the formats of the published data sets."""

import hashlib
import io
import tarfile

import numpy as np
from PIL import Image

from zeroshot_al.sources.cifar import CifarArchive

NAMES = ["airplane", "bird", "cat"]


def md5(data):
    return hashlib.md5(data).hexdigest()


def images_and_targets(seed, n_samples, size_px=32):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n_samples, size_px, size_px, 3), dtype=np.uint8)
    return images, [i % 3 for i in range(n_samples)]


def cifar_archive(batches, names, n_labels=1, more=()):
    """Build a .tar.gz as CIFAR's binary one, and return it with its description.

    `batches` maps a file name to images (n, 32, 32, 3) and their class indices, which are the last
    of `n_labels`; `more` are further members, a TarInfo and its bytes each, put in front.
    """
    files = {"names.txt": "\n".join([*names, "", ""]).encode()}
    for name, (images, targets) in batches.items():
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        labels = np.full((len(images), n_labels), 99, np.uint8)
        labels[:, -1] = targets
        files[name] = np.concatenate([labels, rows], axis=1).tobytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=0) as archive:
        for entry, data in more:
            archive.addfile(entry, io.BytesIO(data))
        for name, data in files.items():
            entry = tarfile.TarInfo(f"tiny/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    description = CifarArchive(
        "http://127.0.0.1:9/tiny.tar.gz",  # the discard port: refused at once
        md5(packed.getvalue()),
        tuple(f"tiny/{name}" for name in batches if name != "test"),
        ("tiny/test",),
        "tiny/names.txt",
        n_labels,
    )
    return packed.getvalue(), description


def tiny_cifar10(more=()):
    """Build a CIFAR-10 of 30 + 12 images: its archive and its description."""
    batches = {
        "data_1": images_and_targets(1, 20),
        "data_2": images_and_targets(2, 10),
        "test": images_and_targets(3, 12),
    }
    return cifar_archive(batches, NAMES, more=more)


def save_as_folder(raw, root):
    """Write images as PNGs in class folders, numbered backwards: another order of arrival."""
    for i, (image, split, label) in enumerate(zip(raw.images, raw.splits, raw.labels, strict=True)):
        folder = root / split / label.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{99999 - i}.png")
