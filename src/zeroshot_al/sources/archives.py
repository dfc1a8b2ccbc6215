"""The files of published data sets, fetched, checked and read by torchvision."""

import http.client
import io
import socket
import ssl
import sys
import urllib.error
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.canonical import RawImages

TIMEOUT_S = 30.0  # without a byte; torchvision itself would wait for ever
# Filesystem errors are not among them: a full disk must be told as a full disk.
NETWORK = (
    urllib.error.URLError,
    TimeoutError,
    ConnectionError,
    ssl.SSLError,
    http.client.HTTPException,
)


def read_torchvision(dataset_class: type, directory: str | Path) -> RawImages:
    """Read both splits through a dataset class of torchvision, which downloads and checks md5.

    An archive that lies in the directory already is used when its md5 is right.

    Raises
    ------
    InputError
        With torchvision's reason, if the data are not there whole and cannot be downloaded.
    """
    from torchvision.datasets import SVHN

    by_split = (
        [{"split": "train"}, {"split": "test"}]
        if issubclass(dataset_class, SVHN)
        else [{"train": True}, {"train": False}]
    )
    with downloading():
        parts = [dataset_class(directory, download=True, **which) for which in by_split]
    first, second = (_pixels(part) for part in parts)
    splits = ["train"] * len(first) + ["test"] * len(second)
    labels = [name for part in parts for name in _label_names(part)]
    return RawImages(joined([first, second]), splits, labels)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Copy parts of uint8 (n, h, w, 3) once, into one array in C order."""
    # Without `out`, numpy.concatenate would keep the parts' transposed memory layout.
    n = sum(len(part) for part in parts)
    return np.concatenate(parts, out=np.empty((n, *parts[0].shape[1:]), dtype=np.uint8))


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


@contextmanager
def downloading() -> Iterator[None]:
    """Give up on a silent server, draw no bar off a terminal, and tell torchvision's errors.

    Raises
    ------
    InputError
        With torchvision's reason.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            yield
    except (*NETWORK, RuntimeError, ValueError, EOFError, AssertionError) as error:
        raise InputError(" ".join(str(error).split()) or type(error).__name__) from error
    finally:
        socket.setdefaulttimeout(before)
