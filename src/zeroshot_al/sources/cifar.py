"""CIFAR's binary archives, read as they are: nothing is unpickled, and nothing unpacked to disk."""

import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.sources.archives import downloading, joined
from zeroshot_al.sources.canonical import RawImages

SIDE_PX = 32
PIXEL_BYTES = 3 * SIDE_PX * SIDE_PX


@dataclass(frozen=True)
class CifarArchive:
    """A .tar.gz of binary records: `n_labels` class labels, a byte each, then the pixels.

    The last label counts. `train`, `test` and `names` are members; the latter has a class a line.
    As published at https://www.cs.toronto.edu/~kriz/cifar.html.
    """

    url: str
    md5: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    n_labels: int


CIFAR10 = CifarArchive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "c32a1d4ab5d03f1284b67883e8d87530",
    tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)),
    ("cifar-10-batches-bin/test_batch.bin",),
    "cifar-10-batches-bin/batches.meta.txt",
    1,
)
CIFAR100 = CifarArchive(  # a coarse and a fine label
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "03b5dce01913d631647c71ecec9e9cb8",
    ("cifar-100-binary/train.bin",),
    ("cifar-100-binary/test.bin",),
    "cifar-100-binary/fine_label_names.txt",
    2,
)


def read_cifar(archive: CifarArchive, directory: str | Path) -> RawImages:
    """Read both splits out of the archive in a directory, which is downloaded if it is not there.

    Raises
    ------
    InputError
        If the archive is not there and cannot be downloaded, or is not the published one.
    """
    from torchvision.datasets.utils import download_url

    file = Path(directory) / archive.url.rpartition("/")[2]
    with downloading():
        download_url(archive.url, directory, file.name, archive.md5)
    wanted = {*archive.train, *archive.test, archive.names}
    with tarfile.open(file, "r|gz") as packed:
        members = {
            member.name: packed.extractfile(member).read()
            for member in packed
            if member.name in wanted and member.isreg()
        }
    names = members[archive.names].decode().split()
    images, splits, labels = [], [], []
    for member in (*archive.train, *archive.test):
        records = np.frombuffer(members[member], np.uint8)
        records = records.reshape(-1, archive.n_labels + PIXEL_BYTES)
        pixels = records[:, archive.n_labels :].reshape(-1, 3, SIDE_PX, SIDE_PX)
        images.append(pixels.transpose(0, 2, 3, 1))
        splits += ["train" if member in archive.train else "test"] * len(records)
        labels += [names[code] for code in records[:, archive.n_labels - 1]]
    return RawImages(joined(images), splits, labels)
