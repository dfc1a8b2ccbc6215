"""The user's image files at the working size: `data.size_px`, or that of the first readable one."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.decode import RejectedError, decode_image
from zeroshot_al.sources.ingest import GIVE_SIZE_PX, Ingested, RequiredShape, decode_files
from zeroshot_al.sources.samples import RANGE_PERCENT

log = logging.getLogger(__name__)


def decode_to_working_size(
    where: str | Path,
    root: str,
    ids: Sequence[str],
    paths: Sequence[str],
    rejected: Mapping[str, str],
    size_px: int | None,
    out: Path,
) -> tuple[Ingested, dict[str, str]]:
    """Decode files into `out`, as `decode_files`, whatever is the matter with some of them.

    Parameters
    ----------
    where : path
        The folder or CSV, for messages.
    root : str
    ids, paths : sequence of str, n_files each
        The paths absolute or relative to `root`.
    rejected : mapping of str to str
        Reason by id, of files that are not tried at all.
    size_px : int, optional
        None demands that all images have the size of the first.
    out : Path

    Returns
    -------
    Ingested
    rejected : dict of str to str
        Reason by id, of those not tried and those that gave no image.

    Raises
    ------
    InputError
        If not one image can be read, or as `decode_files`.
    """
    if not ids:
        refuse_all(where, rejected)
    if size_px is None:
        required = _first_shape(where, root, ids, paths, rejected)
    else:
        required = RequiredShape((size_px, size_px, 3), str(where), GIVE_SIZE_PX)
    found = decode_files(root, paths, required, size_px, out)
    if found.n_deep:
        log.info(
            "%s: %d images of more than 8 bits brought to 8, each by the range that it uses, from "
            "%g%% to %g%% of its values",
            where,
            found.n_deep,
            *RANGE_PERCENT,
        )
    rejected = rejected | {ids[row]: why for row, why in sorted(found.reasons.items())}
    if not len(found.good):
        refuse_all(where, rejected)
    return found, rejected


def refuse_all(where: str | Path, rejected: Mapping[str, str]) -> NoReturn:
    """Raise an `InputError` for a place where every image was rejected; the reasons by id."""
    first = min(rejected)
    raise InputError(
        f"none of the {len(rejected):,} images in {where} can be read, the first {first!r}: "
        f"{rejected[first]}; replace them"
    )


def _first_shape(
    where: str | Path,
    root: str,
    ids: Sequence[str],
    paths: Sequence[str],
    rejected: Mapping[str, str],
) -> RequiredShape:
    """Return the shape of the first image that can be read: it is then required of all."""
    reasons = {}
    for name, path in zip(ids, paths, strict=True):
        full_path = os.path.join(root, path)  # noqa: PTH118
        try:
            return RequiredShape(decode_image(full_path, None).shape, full_path, GIVE_SIZE_PX)
        except RejectedError as error:
            reasons[name] = str(error)
    return refuse_all(where, rejected | reasons)
