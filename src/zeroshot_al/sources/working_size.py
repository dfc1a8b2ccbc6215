"""The user's image files at the working size: `data.size_px`, or that of the first readable one."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.decode import RejectedError, decode
from zeroshot_al.sources.folder import Candidates
from zeroshot_al.sources.ingest import GIVE_SIZE_PX, Ingested, RequiredShape, decode_files
from zeroshot_al.sources.left_out import write_rejected
from zeroshot_al.sources.samples import RANGE_PERCENT

log = logging.getLogger(__name__)


def decode_candidates(
    candidates: Candidates, ids: Sequence[str], size_px: int | None, directory: Path
) -> tuple[Ingested, dict[str, str]]:
    """Decode files into `directory`, as `decode_files`; what gives no image is listed there.

    Parameters
    ----------
    candidates : Candidates
    ids : sequence of str, n_files
        Those of them to decode, in the order of the rows.
    size_px : int, optional
        As for `decode`; None demands that all images have the size of the first.
    directory : Path
        Gets `images.npy` and `rejected.csv`.

    Returns
    -------
    Ingested
    rejected : dict of str to str
        Reason by id, of the candidates' rejected ones and of those that gave no image.

    Raises
    ------
    InputError
        If not one image can be read, or as `decode_files`.
    """
    where, rejected = candidates.where, dict(candidates.rejected)
    paths = [candidates.files[name] for name in ids]
    if size_px is None:
        required = _first_shape(candidates, ids)
    else:
        required = RequiredShape((size_px, size_px, 3), where, GIVE_SIZE_PX)
    found = decode_files(candidates.root, paths, required, size_px, directory / "images.npy")
    rejected |= {ids[row]: why for row, why in found.reasons.items()}
    if not len(found.good):
        refuse_all(where, rejected)
    write_rejected(directory, rejected)
    if found.n_deep:
        log.info(
            "%s: %d images of more than 8 bits brought to 8, each by the range that it uses, from "
            "%g%% to %g%% of its values",
            where,
            found.n_deep,
            *RANGE_PERCENT,
        )
    if rejected:
        name = min(rejected)
        log.warning(
            "%s: %d files rejected (rejected.csv), the first %r: %s",
            where,
            len(rejected),
            name,
            rejected[name],
        )
    return found, rejected


def refuse_all(where: str | Path, rejected: Mapping[str, str]) -> NoReturn:
    """Raise an `InputError` for a place where every image was rejected; the reasons by id."""
    first = min(rejected)
    raise InputError(
        f"none of the {len(rejected):,} images in {where} can be read, the first {first!r}: "
        f"{rejected[first]}; replace them"
    )


def _first_shape(candidates: Candidates, ids: Sequence[str]) -> RequiredShape:
    """Return the shape of the first image that can be read: it is then required of all."""
    rejected = dict(candidates.rejected)
    for name in ids:
        path = str(Path(candidates.root, candidates.files[name]))
        try:
            return RequiredShape(decode(path, None).pixels.shape, path, GIVE_SIZE_PX)
        except RejectedError as error:
            rejected[name] = str(error)
    return refuse_all(candidates.where, rejected)
