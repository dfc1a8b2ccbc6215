"""Text and tables that a user hands over: what is wrong with them is told in one sentence."""

import csv
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from zeroshot_al.base.errors import InputError

MAX_BYTES = 2**30
"""Of a text file, which is read whole: the labels of some ten million images."""


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading that is a file: no pipe to wait at, no device without an end.

    Raises
    ------
    OSError
        If it cannot be opened, or is something else.
    """
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(None, "not a regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    # A named pipe without a writer would otherwise be waited for, for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: Path, option: str) -> str:
    """Read a text file of the user's, with its line ends as they are.

    Parameters
    ----------
    path : Path
    option : str
        The option of params.yaml that names the file, for the error.

    Raises
    ------
    InputError
        If it cannot be read, is larger than `MAX_BYTES`, or is no UTF-8 text.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise InputError(
                    f"{option} {str(path)!r} holds {size:,} bytes, more than {MAX_BYTES:,}; "
                    "part it, or leave out what is not needed"
                )
            # -sig: spreadsheets mark UTF-8.
            text = file.read().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{option} {str(path)!r} cannot be read ({error.strerror}); change it"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise InputError(f"{path} holds NUL bytes, which no text does; save it as UTF-8")
    return text


def parse_table(text: str, path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """Split the text of a CSV into its columns' names and its rows.

    Returns
    -------
    list of str
        The names; empty for an empty text.
    list of dict
        Cells by name; None where a row is too short.

    Raises
    ------
    InputError
        If it is no CSV, or names a column twice.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = list(reader.fieldnames or ())
        rows = list(reader)
    except csv.Error as error:
        line = reader.line_num + 1
        raise InputError(f"{path} is not CSV near its line {line} ({error})") from None
    repeated = [name for i, name in enumerate(names) if name and name in names[:i]]
    if repeated:
        raise InputError(f"{path} names the column {repeated[0]!r} twice; rename or remove one")
    return names, rows
