"""Files in which the user lists ids or paths: one a line, or a column of a CSV."""

import logging
from collections.abc import Collection
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.sources.folder import Candidates
from zeroshot_al.sources.spreadsheet import IdLookup, read_table
from zeroshot_al.sources.user_files import read_text

log = logging.getLogger(__name__)

LABELLED = "labels.labelled"


def read_ids(path: str | Path, option: str) -> list[str]:
    """Read ids: the column `id` of a .csv or .tsv file, else one a line.

    For labels.labelled, of a table that has a column `label`, those that have one.

    Parameters
    ----------
    path, option
        The file, and the option of params.yaml that names it, for the errors.

    Raises
    ------
    InputError
        If the file is missing, is no text, or is a CSV without that column.
    """
    path = expanded(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = _read_rows(path, "id", option)
        for number, row in rows.items():
            if not row["id"]:
                raise InputError(f"row {number} of {path} has no id; fill it, or remove the row")
        found = [row for row in rows.values() if row.get("label", "some").strip()]
        return [row["id"] for row in (found if option == LABELLED else rows.values())]
    # Not str.splitlines, which splits at a dozen characters that a file name may hold.
    lines = (line.removesuffix("\r") for line in read_text(path, option).split("\n"))
    return [line for line in lines if line]


def read_paths(path: str | Path) -> Candidates:
    """Read the files that a CSV lists in its column `path`; ids from its column `id`, else paths.

    A path is absolute or relative to the CSV's folder. Whether it leads to an image is found out
    when it is decoded.

    Raises
    ------
    InputError
        If the CSV is missing or no such CSV, or if an id is empty or stands for two files.
    """
    path = expanded(path)
    found = Candidates(str(path), str(path.parent))
    for number, row in _read_rows(path, "path", "data.root").items():
        name = row.get("id", row["path"])
        if not name:
            raise InputError(f"row {number} of {path} has no id; fill its columns")
        if name in found.files:
            raise InputError(f"the id {name!r} of {path} stands for two images; rename one")
        found.files[name] = row["path"]
    return found


def without_excluded(ids: Collection[str], path: str | None) -> set[str]:
    """Return the ids that the file of excluded ids names and that are there.

    Raises
    ------
    InputError
        If none is there, or as `read_ids`.
    """
    if path is None:
        return set()
    lookup = IdLookup({name: name for name in ids})
    meant = {name: lookup.find(name) for name in read_ids(path, "data.exclude")}
    found = {next(iter(one)) for one in meant.values() if len(one) == 1}
    unknown = [name for name, one in meant.items() if len(one) != 1]
    if unknown and not found:
        raise InputError(
            f"none of the {len(unknown)} excluded ids in {path} is there, the first "
            f"{unknown[0]!r}; write ids as in data/pool/index.csv, or set data.exclude to null"
        )
    if unknown:
        log.warning(
            "%d of %d excluded ids are not there, the first %r",
            len(unknown),
            len(found) + len(unknown),
            min(unknown),
        )
    return found


def _read_rows(path: Path, column: str, option: str) -> dict[int, dict[str, str]]:
    names, rows = read_table(path, option)
    if column not in names:
        raise InputError(f"{path} has no column {column!r}; its first line must name it")
    return rows
