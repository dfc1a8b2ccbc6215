"""Text that a user hands over: what is wrong with it is said in one sentence."""

import codecs
import logging
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from zeroshot_al.base.errors import InputError

log = logging.getLogger(__name__)

WORKBOOKS = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, which are zip files; .xls
# In Windows-1252, other signs than these letters, or three of them in a row, show another encoding.
NOT_WESTERN = "[^\0-\x7fÀ-ÿ°²³µ]|[^\0-\x7f]{3}"


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

    It is UTF-8, UTF-16 with a byte order mark, or Windows-1252, which Excel's plain CSV is in the
    West. That is read with a warning, and only if it looks like words with an accent here and
    there: a text of another code page would come out as other letters.

    Parameters
    ----------
    path : Path
    option : str
        The option of params.yaml that names it, for the error.

    Raises
    ------
    InputError
        If it cannot be read, or is no such text.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise InputError(
            f"{option} {str(path)!r} cannot be read ({error.strerror}); change it"
        ) from None
    if content.startswith(WORKBOOKS):
        raise InputError(f"{path} is a workbook, not text; save it as CSV UTF-8")
    try:
        marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        # -sig: spreadsheets mark UTF-8.
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
        if marked or re.search(NOT_WESTERN, text):
            raise InputError(f"{path} is not UTF-8 text; save it as UTF-8") from None
        word = re.search(r"\w*[^\0-\x7f]\w*", text)[0]
        log.warning("%s is not UTF-8: read as Windows-1252, such as %r", path, word)
    if "\0" in text:
        raise InputError(f"{path} holds NUL bytes, which no text does; save it as UTF-8")
    return text
