"""The user's own images, a folder or a CSV of paths, without labels: an unlabelled pool."""

import logging
from pathlib import Path

from zeroshot_al.base.errors import InputError, printable
from zeroshot_al.base.files import read_npy
from zeroshot_al.base.pool import Pool
from zeroshot_al.sources.duplicates import Duplicate, Signatures, distinct_rows, near_duplicates
from zeroshot_al.sources.folder import Candidates
from zeroshot_al.sources.id_files import without_excluded
from zeroshot_al.sources.ingest import exact_keys
from zeroshot_al.sources.left_out import write_duplicates
from zeroshot_al.sources.npy_rows import keep_rows
from zeroshot_al.sources.working_size import decode_candidates, refuse_all

log = logging.getLogger(__name__)


def read_own_images(
    candidates: Candidates, size_px: int | None, exclude: str | None, directory: Path
) -> Pool:
    """Decode the candidates into `directory`, once each, in canonical order.

    Parameters
    ----------
    candidates : Candidates
        From `list_folder` or `read_paths`.
    size_px, exclude
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
    where = candidates.where
    excluded = without_excluded(candidates.files, exclude)
    ids = sorted(candidates.files.keys() - excluded)
    if not ids and candidates.rejected:
        refuse_all(where, candidates.rejected)
    if not ids:
        others = f"{candidates.skipped.total():,} other files, {len(excluded):,} excluded"
        raise InputError(
            f"{where} holds no image ({others}); images are .jpg, .png, .webp, .bmp, .tif, .gif"
        )
    found, _ = decode_candidates(candidates, ids, size_px, directory)
    good = found.good
    keys = exact_keys(candidates.root, [candidates.files[name] for name in ids], found)
    order, first = (good[rows] for rows in distinct_rows(keys))
    kept_for = {
        ids[copy]: ids[kept] for copy, kept in zip(good, first, strict=True) if copy != kept
    }
    kept = good[first == good]
    out = directory / "images.npy"
    keep_rows(out, order)
    near = near_duplicates(Signatures(*(values[kept] for values in found.signatures)))
    alike = [Duplicate(copy, name, "exact", 0) for copy, name in kept_for.items()]
    alike += [Duplicate(ids[kept[a]], ids[kept[b]], "near", bits) for a, b, bits in near]
    write_duplicates(directory, sorted(alike))
    if candidates.skipped:
        kinds = ", ".join(
            f"{count} {printable(suffix)}" for suffix, count in candidates.skipped.most_common()
        )
        log.info("%s: other files, not read: %s", where, kinds)
    log.info(
        "%s: %d exact copies dropped, %d near-duplicates found (duplicates.csv), %d excluded",
        where,
        len(kept_for),
        len(near),
        len(excluded),
    )
    images = read_npy(out, memory_map=True)
    return Pool.unlabelled(images, tuple(ids[row] for row in order))
