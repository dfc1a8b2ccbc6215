"""Published data sets: a local copy as class folders, or torchvision's checksummed archive."""

import gzip
import hashlib
import http.client
import io
import socket
import ssl
import sys
import tarfile
import urllib.error
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroshot_al.errors import InputError
from zeroshot_al.pool import Pool
from zeroshot_al.sources.canonical import RawImages, canonical_pool, fingerprint
from zeroshot_al.sources.class_folders import list_class_folders, read_listing

TIMEOUT_S = 30.0  # without a byte; torchvision itself would wait for ever
# Filesystem errors are not among them: a full disk must be told as a full disk.
NETWORK = (urllib.error.URLError, TimeoutError, ConnectionError, ssl.SSLError,
           http.client.HTTPException)  # fmt: skip


@dataclass(frozen=True)
class Published:
    """What is known of a published data set.

    Parameters
    ----------
    dataset : str
        The class in torchvision.datasets.
    archives : str
        The files that torchvision looks for, relative to the source's folder.
    n_train, n_test, n_classes, size_px : int
    fingerprint : str, optional
        `canonical.fingerprint` of the true data.
    """

    dataset: str
    archives: str
    n_train: int
    n_test: int
    n_classes: int
    size_px: int
    fingerprint: str | None = None


PUBLISHED = {
    "cifar10": Published(
        "CIFAR10", "cifar-10-python.tar.gz", 50_000, 10_000, 10, 32,
        "25417efa7f0375f90460d37304ec40d47e84ccb8a20472e7c1c8cc7ec2ee8412",
    ),
    "cifar100": Published("CIFAR100", "cifar-100-python.tar.gz", 50_000, 10_000, 100, 32),
    "svhn": Published("SVHN", "train_32x32.mat and test_32x32.mat", 73_257, 26_032, 10, 32),
    "fashion_mnist": Published(
        "FashionMNIST",
        "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz",
        60_000, 10_000, 10, 28,
    ),
}  # fmt: skip

# A class name with a slash cannot name a folder.
LABEL_OF_FOLDER = {"fashion_mnist": {"T-shirt_top": "T-shirt/top"}}


def load_published(source: str, raw_dir: str | Path) -> Pool:
    """Read a published data set from raw_dir/<source>, downloading it when it is not there.

    A local copy, `train/<class>/*` and `test/<class>/*`, is taken before any archive.

    Raises
    ------
    InputError
        If there is neither a copy nor a network, or the copy is not the published data.
    """
    expected, directory = PUBLISHED[source], Path(raw_dir) / source
    for folder in (Path(raw_dir), directory):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; ZEROSHOT_AL_DATA must name a folder of folders")
    if (directory / "train").is_dir():
        return read_local_copy(source, directory, expected)
    # Imported here: it takes seconds, and the other ways do without it.
    import torchvision.datasets

    dataset_class = getattr(torchvision.datasets, expected.dataset)
    try:
        raw = read_torchvision(dataset_class, directory)
    except InputError as error:
        raise InputError(
            f"{source} is neither in {directory} nor could it be downloaded ({error}); "
            f"put {expected.archives} into {directory}, or set ZEROSHOT_AL_DATA to a folder "
            f"with {source}/train/<class>/*.png and {source}/test/<class>/*.png"
        ) from None
    pool = canonical_pool(raw)
    _check_published(pool, directory, expected)
    return pool


def read_local_copy(source: str, directory: Path, expected: Published) -> Pool:
    """Read a data set's copy in class folders, and check that it is the whole and the true one.

    Raises
    ------
    InputError
        If counts, sizes or the fingerprint are not those of the published data.
    """
    listing = list_class_folders(directory)
    for split, n_expected in (("train", expected.n_train), ("test", expected.n_test)):
        n_found = listing.splits.count(split)
        if n_found != n_expected:
            raise InputError(
                f"{directory / split} holds {n_found} images instead of {n_expected}; "
                "put the whole copy there, or remove it to have it downloaded"
            )
    raw = read_listing(listing)
    label_of_folder = LABEL_OF_FOLDER.get(source, {})
    labels = [label_of_folder.get(label, label) for label in raw.labels]
    # Without names: the ids must be those that the archive's images get.
    pool = canonical_pool(RawImages(raw.images, raw.splits, labels))
    _check_published(pool, directory, expected)
    # torchvision's archive needs no such check: its md5 was checked.
    if expected.fingerprint is not None and fingerprint(pool) != expected.fingerprint:
        raise InputError(
            f"the images or labels in {directory} are not those that were published; "
            "put a lossless copy there, or remove it to have it downloaded"
        )
    return pool


def read_torchvision(dataset_class: type, directory: str | Path) -> RawImages:
    """Read both splits through a dataset class of torchvision, which downloads and checks md5.

    An archive that lies in the directory already is used when its md5 is right.

    Raises
    ------
    InputError
        With torchvision's reason, if the data are not there whole and cannot be downloaded.
    """
    from torchvision.datasets import MNIST, SVHN

    directory = Path(directory)
    if issubclass(dataset_class, MNIST):
        _remove_broken_extractions(dataset_class, directory)
    by_split = (
        [{"split": "train"}, {"split": "test"}]
        if issubclass(dataset_class, SVHN)
        else [{"train": True}, {"train": False}]
    )
    try:
        with _patience():
            # CIFAR's archives hold pickles. torchvision loads them after checking their md5
            # against the published one, which is the one place where we accept pickle.
            parts = [dataset_class(directory, download=True, **which) for which in by_split]
    except (
        *NETWORK,
        RuntimeError,
        ValueError,
        EOFError,
        AssertionError,
        tarfile.TarError,
    ) as error:
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error
    first, second = (_pixels(part) for part in parts)
    splits = ["train"] * len(first) + ["test"] * len(second)
    labels = [name for part in parts for name in _label_names(part)]
    # numpy.concatenate would keep torchvision's transposed memory layout.
    images = np.empty((len(splits), *first.shape[1:]), dtype=np.uint8)
    images[: len(first)], images[len(first) :] = first, second
    return RawImages(images, splits, labels)


def _pixels(dataset) -> np.ndarray:
    """Return torchvision's array as (n, height, width, 3), uint8."""
    pixels = np.asarray(dataset.data)
    if pixels.ndim == 3:  # gray, (n, height, width)
        return np.repeat(pixels[..., None], 3, axis=3)
    if pixels.shape[1] == 3:  # SVHN, (n, 3, height, width)
        return pixels.transpose(0, 2, 3, 1)
    return pixels


def _label_names(dataset) -> list[str]:
    targets = np.asarray(dataset.labels if hasattr(dataset, "labels") else dataset.targets)
    names = getattr(dataset, "classes", None)
    return [str(target) if names is None else names[target] for target in targets.tolist()]


def _check_published(pool: Pool, directory: Path, expected: Published) -> None:
    found = (pool.n_train, len(pool.images) - pool.n_train, len(pool.classes))
    due = (expected.n_train, expected.n_test, expected.n_classes)
    if found != due or pool.images.shape[1:3] != (expected.size_px, expected.size_px):
        height, width = pool.images.shape[1:3]
        raise InputError(
            f"{directory} holds {found[0]} + {found[1]} images of {found[2]} classes and "
            f"{width} x {height} pixels instead of {due[0]} + {due[1]} of {due[2]} and "
            f"{expected.size_px} x {expected.size_px}; replace or remove it"
        )


@contextmanager
def _patience() -> Iterator[None]:
    """Give up on a silent server, extract nothing elsewhere, and draw no bar off a terminal."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    # Python 3.14's default, for those before: no member leaves the folder.
    if hasattr(tarfile, "data_filter"):
        tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _remove_broken_extractions(dataset_class: type, directory: Path) -> None:
    """Remove extracted files that differ from the archive beside them.

    torchvision trusts an extracted MNIST file by its name alone, so an extraction that was
    broken off would be taken as whole for ever.
    """
    for name, _ in dataset_class.resources:
        archive = directory / dataset_class.__name__ / "raw" / name
        extracted = archive.with_suffix("")
        if archive.exists() and extracted.exists():
            try:
                with gzip.open(archive) as packed, open(extracted, "rb") as plain:
                    same = (
                        hashlib.file_digest(packed, "sha256").digest()
                        == hashlib.file_digest(plain, "sha256").digest()
                    )
            except (gzip.BadGzipFile, EOFError, zlib.error):
                continue  # a broken archive says nothing about what was extracted from a good one
            if not same:
                extracted.unlink()
