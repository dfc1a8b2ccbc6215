"""The user's own images, a folder or a CSV of paths, without labels: an unlabelled pool."""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.base.files import read_npy
from zeroshot_al.base.pool import Pool
from zeroshot_al.sources import duplicates
from zeroshot_al.sources.duplicates import Duplicate, Signatures
from zeroshot_al.sources.folder import Candidates
from zeroshot_al.sources.id_files import labelled_ids, without_excluded
from zeroshot_al.sources.ingest import Ingested, exact_keys
from zeroshot_al.sources.left_out import write_left_out
from zeroshot_al.sources.npy_rows import keep_rows
from zeroshot_al.sources.working_size import decode_to_working_size

log = logging.getLogger(__name__)


def read_own_images(
    candidates: Candidates,
    where: str,
    size_px: int | None,
    exclude: str | None,
    labelled: str | None,
    directory: Path,
) -> Pool:
    """Decode the candidates into `directory`, once each, in canonical order.

    Parameters
    ----------
    candidates : Candidates
        From `list_folder` or `read_paths`.
    where : str
        The folder or CSV, for messages.
    size_px, exclude, labelled
        As in `DataParams`.
    directory : Path
        Gets `images.npy`, `rejected.csv` and `duplicates.csv`.

    Returns
    -------
    Pool
        Its images are a memory map of `images.npy`.

    Raises
    ------
    InputError
        If not one image can be read, or as the functions it calls.
    """
    excluded = without_excluded(candidates.files, exclude)
    ids = sorted(candidates.files.keys() - excluded if excluded else candidates.files)
    if not ids and not candidates.rejected:
        others = f"{candidates.skipped.total():,} other files, {len(excluded):,} excluded"
        raise InputError(
            f"{where} holds no image ({others}); images are .jpg, .png, .webp, .bmp, .tif, .gif"
        )
    paths = [candidates.files[name] for name in ids]
    out = directory / "images.npy"
    found, rejected = decode_to_working_size(
        where, candidates.root, ids, paths, candidates.rejected, size_px, out
    )
    good = found.good
    keys = exact_keys(candidates.root, paths, found)
    order, first = (good[rows] for rows in duplicates.distinct_rows(keys))
    kept_for = {
        ids[copy]: ids[kept] for copy, kept in zip(good, first, strict=True) if copy != kept
    }
    kept = good[first == good]
    gone = rejected | dict.fromkeys(excluded, "it is excluded")
    labelled_there = labelled_ids(labelled, [ids[i] for i in kept], kept_for, gone)
    keep_rows(out, order)
    copies = _duplicates(ids, kept, kept_for, found)
    write_left_out(directory, copies, rejected)
    _report(where, candidates, rejected, copies, excluded)
    n_kept = len(kept)
    return Pool(
        read_npy(out, memory_map=True),
        tuple(ids[i] for i in order),
        ("train",) * n_kept,
        ("",) * n_kept,
        labelled=labelled_there,
    )


def _duplicates(
    ids: list[str], kept: np.ndarray, kept_for: Mapping[str, str], found: Ingested
) -> list[Duplicate]:
    near = duplicates.near_duplicates(
        Signatures(found.signatures.hashes[kept], found.signatures.colours[kept])
    )
    exact = [Duplicate(copy, name, "exact", 0) for copy, name in kept_for.items()]
    alike = [Duplicate(ids[kept[a]], ids[kept[b]], "near", bits) for a, b, bits in near]
    return sorted(exact + alike)


def _report(where, candidates: Candidates, rejected, copies: list[Duplicate], excluded) -> None:
    if candidates.skipped:
        kinds = ", ".join(
            f"{count} {printable(suffix)}" for suffix, count in candidates.skipped.most_common()
        )
        log.info("%s: other files, not read: %s", where, kinds)
    n_exact = sum(copy.kind == "exact" for copy in copies)
    log.info(
        "%s: %d files rejected (rejected.csv), %d exact copies dropped, %d near-duplicates found "
        "(duplicates.csv), %d excluded",
        where,
        len(rejected),
        n_exact,
        len(copies) - n_exact,
        len(excluded),
    )
