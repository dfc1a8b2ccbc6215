"""Text and tables that a user hands over: what is wrong with them is told in one sentence."""

import csv
import io
from pathlib import Path

from zeroshot_al.errors import InputError


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
        If it cannot be read, or is no UTF-8 text.
    """
    try:
        # newline="": a file name may hold a carriage return. -sig: spreadsheets mark UTF-8.
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise InputError(
            f"{option} {str(path)!r} cannot be read ({error.strerror}); change it"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None


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
        If it is no CSV.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        line = reader.line_num + 1
        raise InputError(f"{path} is not CSV near its line {line} ({error})") from None
    return list(reader.fieldnames or ()), rows
