"""Small genuine archives in the formats of torchvision's data sets."""

import hashlib
import io
import pickle
import tarfile

import numpy as np
from PIL import Image
from torchvision.datasets import CIFAR10

NAMES = ["airplane", "bird", "cat"]


def md5(data):
    return hashlib.md5(data).hexdigest()


def images_and_targets(seed, n_samples, size_px=32):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n_samples, size_px, size_px, 3), dtype=np.uint8)
    return images, [i % 3 for i in range(n_samples)]


def cifar_archive(batches, names, meta_key="label_names", label_key="labels"):
    """Build a .tar.gz as CIFAR's: pickled batches of rows, and return it with torchvision's lists.

    `batches` maps a file name to images (n, 32, 32, 3) and their class indices.
    """
    files = {"batches.meta": pickle.dumps({meta_key: names})}
    for name, (images, targets) in batches.items():
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        files[name] = pickle.dumps({"data": rows, label_key: list(targets)})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=0) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"tiny-batches/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    sums = {name: md5(data) for name, data in files.items()}
    attributes = {
        "base_folder": "tiny-batches",
        "filename": "tiny.tar.gz",
        "url": "http://127.0.0.1:9/tiny.tar.gz",  # the discard port: refused at once
        "tgz_md5": md5(packed.getvalue()),
        "train_list": [[name, sums[name]] for name in batches if name != "test"],
        "test_list": [["test", sums["test"]]],
        "meta": {"filename": "batches.meta", "key": meta_key, "md5": sums["batches.meta"]},
    }
    return packed.getvalue(), attributes


def tiny_cifar10():
    """Build a CIFAR-10 of 30 + 12 images: its archive and its dataset class."""
    data, attributes = cifar_archive(
        {
            "data_1": images_and_targets(1, 20),
            "data_2": images_and_targets(2, 10),
            "test": images_and_targets(3, 12),
        },
        NAMES,
    )
    return data, type("Tiny", (CIFAR10,), attributes)


def save_as_folder(raw, root):
    """Write images as PNGs in class folders, numbered backwards: another order of arrival."""
    for i, (image, split, label) in enumerate(zip(raw.images, raw.splits, raw.labels, strict=True)):
        folder = root / split / label.replace("/", "_")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{99999 - i}.png")
