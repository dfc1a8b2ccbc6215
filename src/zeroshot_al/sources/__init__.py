"""Where the pool's images come from: published data sets, digits, or the user's class folders."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zeroshot_al.errors import InputError
from zeroshot_al.pool import Pool
from zeroshot_al.sources.canonical import canonical_pool
from zeroshot_al.sources.digits import read_digits
from zeroshot_al.sources.folder import list_class_folders, read_listing
from zeroshot_al.sources.published import load_published

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DataParams:
    """Section `data`: the source, and the root of the source `folder` (null for the others)."""

    source: Literal["cifar10", "cifar100", "svhn", "fashion_mnist", "digits", "folder"]
    root: str | None


def load_source(params: DataParams, raw_dir: str | Path) -> Pool:
    """Read a source's images into a pool in canonical order.

    Parameters
    ----------
    params : DataParams
    raw_dir : path
        Where published data sets lie or are downloaded to, one folder a source.

    Raises
    ------
    InputError
        If the data are missing and cannot be downloaded, or are not what they should be.
    """
    if (params.root is None) == (params.source == "folder"):
        raise InputError(
            f"data.root {params.root!r} does not go with the source {params.source!r}; "
            "give a path for 'folder' and null for every other source"
        )
    if params.source == "folder":
        pool = canonical_pool(read_listing(list_class_folders(Path(params.root).expanduser())))
    elif params.source == "digits":
        pool = canonical_pool(read_digits())
    else:
        pool = load_published(params.source, raw_dir)
    n_samples, height, width, _ = pool.images.shape
    log.info(
        "%s: %d train and %d test images of %d x %d pixels, %d classes",
        params.source, pool.n_train, n_samples - pool.n_train, width, height, len(pool.classes),
    )  # fmt: skip
    return pool
