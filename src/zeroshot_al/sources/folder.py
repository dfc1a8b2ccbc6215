"""The image files of the user's folder: any nesting, and nothing outside of it."""

import heapq
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded

# By name, because a folder of photos holds thousands of other files, and each would be opened.
IMAGE_SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
    )
)
NOT_UTF8 = "its name is not valid UTF-8"
# In lower case: what systems keep beside people's files, such as previews and what was deleted.
OF_THE_SYSTEM = frozenset(
    (
        "thumbs.db",
        "desktop.ini",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "__macosx",
    )
)


@dataclass(eq=False)
class Candidates:
    """The files that may become images of the pool, and those that cannot.

    Parameters
    ----------
    root : str
        The folder that `files` are relative to.
    files : dict of str to str
        Path by id; of a million files the root is not repeated in each.
    rejected : dict of str to str
        Reason by id.
    skipped : Counter
        Other files by suffix.
    """

    root: str
    files: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    skipped: Counter = field(default_factory=Counter)


def list_folder(root: str | Path) -> Candidates:
    """List every image file under a folder by its suffix; ids are posix paths relative to it.

    Hidden files and folders (names that begin with ".") and the system's are passed over. A link
    is followed when it leads to something inside of the folder, and a linked folder is read once,
    under its own path if it can be reached by that. Nothing outside is opened.

    Raises
    ------
    InputError
        If the folder is none or cannot be opened.
    """
    real_root = os.path.realpath(expanded(root))
    if not Path(real_root).is_dir():
        raise InputError(f"{root} is not a folder; set data.root to the folder of your images")
    found = Candidates(real_root)
    visited: set[tuple[int, int]] = set()
    # Linked folders wait until every real one is known, so that real paths become the ids.
    folders, links = [""], []
    while folders or links:
        folder = folders.pop() if folders else heapq.heappop(links)
        path = Path(real_root, folder)
        try:
            status = path.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(path) as listed:
                entries = list(listed)
        except OSError as error:
            if not folder:
                raise InputError(
                    f"{root} cannot be opened ({error.strerror}); change its permissions"
                ) from None
            found.rejected[folder] = f"the folder cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            _sort_entry(entry, folder, real_root, found, folders, links)
    return found


def _sort_entry(entry, folder: str, real_root: str, found: Candidates, folders, links) -> None:
    if passed_over(entry.name):
        return
    name = f"{folder}/{entry.name}" if folder else entry.name
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
    try:
        if entry.is_symlink():
            os.path.realpath(entry.path, strict=True)
            if leads_out(entry.path, real_root):
                found.rejected[printable(name)] = "a link that leads out of the folder"
                return
        kind = _kind(entry)
    except OSError as error:
        found.rejected[printable(name)] = (
            f"a link that leads nowhere ({error.strerror})"
            if entry.is_symlink()
            else f"cannot be opened ({error.strerror})"
        )
        return
    if kind == "other" or (kind == "file" and suffix not in IMAGE_SUFFIXES):
        if suffix in IMAGE_SUFFIXES:
            found.rejected[printable(name)] = "not a regular file"
        else:
            found.skipped[printable(suffix) or "no suffix"] += 1
    elif printable(name) != name:
        # It could be neither an id in a UTF-8 file nor a name in a labelling tool.
        found.rejected[printable(name)] = NOT_UTF8
    elif kind == "file":
        found.files[name] = name
    elif entry.is_symlink():
        heapq.heappush(links, name)
    else:
        folders.append(name)


def passed_over(name: str) -> bool:
    """Tell whether a file or folder is hidden, or one that the system keeps for itself."""
    return name.startswith(".") or name.lower() in OF_THE_SYSTEM


def leads_out(path: str | Path, root: str | Path) -> bool:
    """Tell whether a path ends, through links, at a place that is not below a folder."""
    real_root = os.path.realpath(root)
    return os.path.commonpath((os.path.realpath(path), real_root)) != real_root


def _kind(entry: os.DirEntry) -> str:
    if entry.is_dir():
        return "folder"
    return "file" if entry.is_file() else "other"


def printable(name: str) -> str:
    r"""Write the bytes of a file name that are not UTF-8 as \x.., as a text file needs it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
