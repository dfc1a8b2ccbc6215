"""Outputs that are whole or absent: written under a temporary name, then renamed. No pickle."""

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import psutil

from zeroshot_al.base.errors import InputError


def expanded(path: str | os.PathLike) -> Path:
    """Replace "~" at a path's beginning; a user whom nobody knows is a name like any other."""
    return Path(os.path.expanduser(path))  # noqa: PTH111


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it on success and is removed on failure.

    The suffix is kept, because writers such as `numpy.save` and matplotlib choose by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in _leftovers(path.parent.resolve()).pop((path.stem, f"tmp{path.suffix}"), ()):
        leftover.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # Opening names the file, writing does not.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replaced_directory(directory: str | Path) -> Iterator[Path]:
    """Yield a path to build a directory at; it replaces `directory` on success and else goes."""
    # A link to a bigger disk stays a link: build beside what it points to.
    directory = Path(os.path.realpath(directory))
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    old = directory.with_name(f".{directory.name}.{os.getpid()}.old")
    leftovers = _leftovers(directory.parent)
    for leftover in leftovers.pop((directory.name, "old"), ()):
        if directory.exists():
            shutil.rmtree(leftover, ignore_errors=True)
        else:  # killed between the two renames
            leftover.rename(directory)
    for leftover in leftovers.pop((directory.name, "tmp"), ()):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        yield temporary
        # A directory that is not empty cannot be replaced in one step, so the old one steps aside.
        if directory.exists():
            directory.rename(old)
        temporary.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if old.exists() and not directory.exists():
            old.rename(directory)
        shutil.rmtree(temporary, ignore_errors=True)


@cache  # else each of many files in one directory would list it again
def _leftovers(directory: Path) -> dict[tuple[str, str], list[Path]]:
    """Return what killed processes left in a directory, by the name and the kind of the target."""
    found: dict[tuple[str, str], list[Path]] = {}
    for path in directory.iterdir() if directory.is_dir() else ():
        # As `atomic_path` and `replaced_directory` name them.
        match = re.fullmatch(r"\.(.+)\.(\d+)\.(old|tmp(?:\.[^.]+)?)", path.name, re.DOTALL)
        # Its own number stands for a killed process whose number was used again.
        if match and (int(match[2]) == os.getpid() or not psutil.pid_exists(int(match[2]))):
            found.setdefault((match[1], match[3]), []).append(path)
    return found


def write_json(path: str | Path, data: object) -> None:
    """Write `data` as indented JSON; NaN is refused, because no JSON reader has to accept it."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def write_csv(
    path: str | Path, header: Sequence[str], rows: Iterable[Sequence], encoding: str = "utf-8"
) -> None:
    """Write rows under a header, with "\\n" line ends on every platform."""
    with atomic_path(path) as part, open(part, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(_LineEnds(file), lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)


class _LineEnds:
    """Ends rows with "\\n", while csv quotes "\\r", which may stand in a file name, as well."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")


def write_npy(path: str | Path, array: np.ndarray) -> None:
    """Write an array as .npy, without pickle."""
    with atomic_path(path) as temporary:
        try:
            np.save(temporary, array, allow_pickle=False)
        except OSError as error:
            if error.errno is not None:
                raise
            # NumPy tells a full disk in words alone: "N requested and M written".
            raise OSError(errno.ENOSPC, str(error), str(path)) from error


def append_npy(file: BinaryIO, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
    """Write float32 rows that come in parts, as `numpy.save` would write all, of that shape."""
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for part in parts:
        file.write(np.ascontiguousarray(part, dtype="<f4").data)


def read_json(path: str | Path) -> dict:
    """Read a JSON file; raise an `InputError` if it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path} is not JSON ({error}); run the stage that writes it") from None


def read_rows(path: str | Path, header: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of a CSV file one by one, so that a million of them cost no memory.

    Raises
    ------
    InputError
        If the file is missing or cut off, its first line is not `header`, or a row has not as many
        columns.
    """
    try:
        # -sig: the tables that people open begin with a byte order mark.
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            found = next(reader, [])
            if found != list(header):
                raise InputError(f"{path} has the columns {found} instead of {list(header)}")
            for row in reader:
                if len(row) == len(header):
                    yield row
                elif row:  # csv reads an empty line as a row without columns
                    raise csv.Error("cut off or damaged")
            # A row cut within its last column has all its columns, but `write_csv` ends each line.
            if not _ends_a_line(path):
                raise csv.Error("cut off or damaged")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it") from None
    except csv.Error as error:
        raise InputError(
            f"{path} is not CSV near its line {reader.line_num} ({error}); "
            "run the stage that writes it again"
        ) from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path} is not CSV ({error}); run the stage that writes it") from None


def _ends_a_line(path: str | Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_csv(path: str | Path, header: Sequence[str]) -> list[dict[str, str]]:
    """Read a small CSV file as one dict a row, with the errors of `read_rows`."""
    return [dict(zip(header, row, strict=True)) for row in read_rows(path, header)]


def read_npy(path: str | Path, *, memory_map: bool = False) -> np.ndarray:
    """Read an .npy file; raise an `InputError` if it is missing, truncated or of objects."""
    try:
        return np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the stage that writes it") from None
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is not a complete .npy array ({error}); make it again") from None
