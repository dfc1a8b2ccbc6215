"""Tables that people open in a spreadsheet, or save from one: their writer and their reader.

Written are UTF-8, commas and a byte order mark, without which Excel takes another encoding. A cell
that begins with = + - @ (or their full-width forms), a tab or a line break can be taken for a
formula. Such a text gets a single quote before it, as OWASP advises, and so does one that begins
with a single quote, so that dropping one leading quote gives every text back exactly.

References
----------
OWASP, "CSV Injection".
"""

import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv, write_csv
from zeroshot_al.sources.user_files import read_text

STARTS_A_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width
SEPARATORS = ",;\t"


def quote_cell(text: str) -> str:
    """Put a single quote before a text that a spreadsheet could run, or that begins with one."""
    return "'" + text if text.startswith((*STARTS_A_FORMULA, "'")) else text


def unquote_cell(cell: str) -> str:
    """Undo `quote_cell`."""
    return cell.removeprefix("'")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a table for people, its texts quoted by `quote_cell`."""
    quoted = ([quote_cell(c) if isinstance(c, str) else c for c in row] for row in rows)
    write_csv(path, header, quoted, encoding="utf-8-sig")


def read_own_table(path: Path, header: Sequence[str]) -> list[dict[str, str]]:
    """Read back what `write_table` wrote, with the errors of `read_csv`."""
    return [{k: unquote_cell(v) for k, v in row.items()} for row in read_csv(path, header)]


def read_table(path: Path, option: str) -> tuple[list[str], dict[int, dict[str, str]]]:
    """Read a CSV of the user's, in any encoding of `read_text`.

    Its separator is what its first line says (`sep=;`), else the one of comma, semicolon and tab
    that parts its names most.

    Parameters
    ----------
    path, option
        As for `read_text`.

    Returns
    -------
    list of str
        The columns' names; empty for an empty file.
    dict of int to dict
        Cells by name, "" where a row is too short, by the row's number in a spreadsheet. Blank
        rows are left out.

    Raises
    ------
    InputError
        As `read_text`; if it is no CSV, names a column twice, or a row is longer than the names.
    """
    text = read_text(path, option)
    names, rows, number = [], {}, 0
    try:
        hint = re.match(r'"?sep=(.)"?(?:\r\n?|\n)', text, re.IGNORECASE)
        separator = hint[1] if hint else _separator(re.search(r"[^\r\n]+|\Z", text)[0])
        file = io.StringIO(text[hint.end() :] if hint else text, newline="")
        for number, cells in enumerate(csv.reader(file, delimiter=separator, strict=True), start=1):
            if not "".join(cells).strip():
                continue
            if not names:
                names = [name.strip() for name in cells]
            else:
                if "".join(cells[len(names) :]).strip():
                    raise InputError(
                        f"row {number} of {path} has {len(cells)} cells for {len(names)} columns; "
                        f"put double quotes around a text that holds {separator!r}"
                    )
                rows[number] = dict(itertools.zip_longest(names, cells[: len(names)], fillvalue=""))
    except csv.Error as error:
        raise InputError(f"{path} is not CSV near its row {number + 1} ({error})") from None
    repeated = [name for i, name in enumerate(names) if name and name in names[:i]]
    if repeated:
        raise InputError(f"{path} names the column {repeated[0]!r} twice; rename or remove one")
    return names, rows


def _separator(line: str) -> str:
    return max(SEPARATORS, key=lambda s: len(next(csv.reader([line], delimiter=s), ())))


class IdLookup:
    """Finds what an id in a table of the user's stands for.

    The id may be as `quote_cell` writes it. If it is none then, blanks around it and its Unicode
    form do not count: macOS decomposes what others compose, and the two look the same.

    Parameters
    ----------
    meanings : mapping of str to str
        What each exact id stands for.
    """

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._meanings = meanings

    @cached_property  # most tables need it for no id
    def _by_form(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name, meaning in self._meanings.items():
            found[_form(name)] = (*found.get(_form(name), ()), meaning)
        return found

    def find(self, name: str) -> set[str]:
        """Return all that an id can stand for: one, none, or several where that is ambiguous."""
        plain = unquote_cell(name)
        forms = {name} | ({plain} if quote_cell(plain) == name else set())
        found = {self._meanings[form] for form in forms if form in self._meanings}
        return found or {one for form in forms for one in self._by_form.get(_form(form), ())}


def _form(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()
