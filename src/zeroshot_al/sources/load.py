"""Read the source that section `data` names into a pool."""

import logging
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.pool import Pool
from zeroshot_al.sources.canonical import canonical_pool
from zeroshot_al.sources.class_folders import read_class_folders
from zeroshot_al.sources.digits import read_digits
from zeroshot_al.sources.embeddings import read_embeddings
from zeroshot_al.sources.folder import list_folder
from zeroshot_al.sources.id_files import read_paths
from zeroshot_al.sources.own_images import read_own_images
from zeroshot_al.sources.params import DataParams
from zeroshot_al.sources.published import load_published

log = logging.getLogger(__name__)

# What data.root is for each source that needs one.
ROOTS = {
    "folder": "the folder of your images",
    "csv": "a CSV file with a column path",
    "embeddings": "an .npy file of shape n x d",
    "class_folders": "a folder with train/<class>/* and test/<class>/*",
}
# Further options, and the sources that they go with.
OPTIONS = {
    "size_px": ("folder", "csv", "class_folders"),
    "ids": ("embeddings",),
    "exclude": ("folder", "csv", "embeddings"),
}


def load_source(params: DataParams, raw_dir: str | Path, directory: str | Path) -> Pool:
    """Read a source's images into a pool in canonical order.

    Parameters
    ----------
    params : DataParams
    raw_dir : path
        Where published data sets lie or are downloaded to, one folder a source.
    directory : path
        Where the pool is going to be written. Sources of files leave large arrays and reports
        there, and the pool maps the arrays.

    Raises
    ------
    InputError
        If the data are missing and cannot be downloaded, or are not what they should be.
    """
    _check(params)
    source, directory = params.source, Path(directory)
    if source in ("folder", "csv"):
        candidates = (list_folder if source == "folder" else read_paths)(params.root)
        pool = read_own_images(candidates, params.size_px, params.exclude, directory)
    elif source == "embeddings":
        pool = read_embeddings(params.root, params.ids, params.exclude, directory)
    elif source == "class_folders":
        pool = read_class_folders(params.root, params.size_px, directory)
    elif source == "digits":
        pool = canonical_pool(read_digits())
    else:
        pool = load_published(source, raw_dir, directory)
    height, width = pool.images.shape[1:3]
    log.info(
        "%s: %d train and %d test images of %d x %d pixels, %d classes",
        source,
        pool.n_train,
        len(pool.images) - pool.n_train,
        width,
        height,
        len(pool.classes),
    )
    return pool


def _check(params: DataParams) -> None:
    source = params.source
    if params.root is None and source in ROOTS:
        raise InputError(
            f"data.root is not set, and the source {source!r} needs it; "
            f"set it in params.yaml to {ROOTS[source]}"
        )
    if params.root is not None and source not in ROOTS:
        raise InputError(
            f"data.root {params.root!r} does not go with the source {source!r}; set it to null"
        )
    for option, sources in OPTIONS.items():
        value = getattr(params, option)
        if value is not None and source not in sources:
            raise InputError(
                f"data.{option} {value!r} does not go with the source {source!r}; set it to null"
            )
    if source == "embeddings" and params.ids is None:
        raise InputError(
            "data.ids is not set, and the source 'embeddings' needs it; "
            "set it in params.yaml to a file with one id a line"
        )
    if params.size_px is not None and params.size_px < 1:
        raise InputError(f"data.size_px {params.size_px} must be at least 1; raise it")
