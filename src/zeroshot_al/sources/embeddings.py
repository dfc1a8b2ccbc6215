"""Ready-made embeddings, an .npy file and its ids: a pool without images."""

import hashlib
import logging
from collections import Counter
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import append_npy, expanded, read_npy
from zeroshot_al.base.pool import Pool
from zeroshot_al.sources.duplicates import Duplicate, distinct_rows
from zeroshot_al.sources.id_files import read_ids, without_excluded
from zeroshot_al.sources.left_out import write_duplicates, write_rejected
from zeroshot_al.sources.user_files import open_regular

log = logging.getLogger(__name__)

BLOCK_ROWS = 8192


def read_embeddings(path: str | Path, ids_path: str, exclude: str | None, directory: Path) -> Pool:
    """Bring embeddings into canonical order, that of the rows' sha256, each row once.

    Parameters
    ----------
    path, ids_path : path
        Floating array of shape (n, n_dims) and the n ids of its rows.
    exclude
        As in `DataParams`.
    directory : Path
        Gets `embeddings.npy` (float32, rows as in the pool), `duplicates.csv` and `rejected.csv`.

    Returns
    -------
    Pool
        Its images are of shape (n_samples, 0, 0, 3): there are none.

    Raises
    ------
    InputError
        If the array is not floating, finite, two-dimensional and free of zero rows, or if the ids
        are not as many and distinct.
    """
    rows = _open(expanded(path))
    ids = read_ids(ids_path, "data.ids")
    if len(ids) != len(rows):
        raise InputError(
            f"{ids_path} holds {len(ids)} ids and {path} {len(rows)} rows; "
            "give one id for each row, in the same order"
        )
    if len(set(ids)) != len(ids):
        repeated = Counter(ids).most_common(1)[0][0]
        raise InputError(f"the id {repeated!r} of {ids_path} stands for two rows; rename one")
    digests = _check_rows(rows, ids, path)
    excluded = without_excluded(ids, exclude)
    by_id = sorted((i for i, name in enumerate(ids) if name not in excluded), key=ids.__getitem__)
    if not by_id:
        raise InputError(f"all {len(ids)} rows of {path} are excluded; nothing is left to order")
    by_id = np.array(by_id)
    order, first = (by_id[found] for found in distinct_rows(digests[by_id]))
    kept_for = {
        ids[copy]: ids[kept] for copy, kept in zip(by_id, first, strict=True) if copy != kept
    }
    directory.mkdir(parents=True, exist_ok=True)
    blocks = (order[start : start + BLOCK_ROWS] for start in range(0, len(order), BLOCK_ROWS))
    shape = (len(order), rows.shape[1])
    with open(directory / "embeddings.npy", "wb") as file:
        append_npy(file, shape, (rows[block].astype(np.float32) for block in blocks))
    copies = [Duplicate(copy, name, "exact", 0) for copy, name in sorted(kept_for.items())]
    write_duplicates(directory, copies)
    write_rejected(directory, {})
    log.info("%s: %d exact copies dropped, %d excluded", path, len(copies), len(excluded))
    images = np.empty((len(order), 0, 0, 3), np.uint8)
    return Pool.unlabelled(images, tuple(ids[i] for i in order))


def _open(path: Path) -> np.ndarray:
    try:
        open_regular(path).close()
    except OSError as error:
        raise InputError(
            f"data.root {str(path)!r} cannot be read ({error.strerror}); change it"
        ) from None
    rows = read_npy(path, memory_map=True)
    if not isinstance(rows, np.ndarray):
        raise InputError(f"{path} holds several arrays; save the one of the embeddings as .npy")
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating) or 0 in rows.shape:
        raise InputError(
            f"the array in {path} is {rows.dtype} of shape {rows.shape}; "
            "it must be floating of shape n x d"
        )
    return rows


def _check_rows(rows: np.ndarray, ids: list[str], path: str | Path) -> np.ndarray:
    """Check each row as it will be written, in float32; return their sha256, uint8 (n, 32)."""
    digests = np.empty((len(rows), hashlib.sha256().digest_size), dtype=np.uint8)
    for start in range(0, len(rows), BLOCK_ROWS):
        with np.errstate(over="ignore"):  # told below, as infinite
            block = np.asarray(rows[start : start + BLOCK_ROWS], dtype=np.float32)
        block = block + np.float32(0)  # -0 and 0 are one number, with one hash
        for bad, what, remedy in (
            (~np.isfinite(block).all(axis=1), "NaN or infinite values in float32", "repair"),
            (~block.any(axis=1), "nothing but zeros, which have no direction", "remove"),
        ):
            if bad.any():
                first = start + int(bad.argmax())
                raise InputError(
                    f"row {first} of {path}, {ids[first]!r}, holds {what}; {remedy} such rows"
                )
        for i, row in enumerate(np.ascontiguousarray(block), start):
            digests[i] = np.frombuffer(hashlib.sha256(row).digest(), np.uint8)
    return digests
