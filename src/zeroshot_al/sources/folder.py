"""The image files of the user's folder: any nesting, and nothing outside of it."""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded

# By name, because a folder of photos holds thousands of other files, and each would be opened.
IMAGE_SUFFIX = re.compile(r"\.(jpe|jpe?g|jfif|a?png|webp|bmp|dib|tiff?|gif)")
# In lower case: what systems keep beside people's files, such as previews and what was deleted.
WINDOWS = {"thumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"}
NAS = {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot"}
OF_THE_SYSTEM = WINDOWS | NAS | {"lost+found", "__macosx"}


@dataclass(eq=False)
class Candidates:
    """The files that may become images of the pool, and those that cannot.

    Parameters
    ----------
    where : str
        The folder or CSV as the user gave it, for messages.
    root : str
        The folder that `files` are relative to.
    files : dict of str to str
        Path by id; of a million files the root is not repeated in each.
    rejected : dict of str to str
        Reason by id.
    skipped : Counter
        Other files by suffix.
    """

    where: str
    root: str
    files: dict[str, str] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    skipped: Counter = field(default_factory=Counter)


def list_folder(root: str | Path) -> Candidates:
    """List every image file under a folder by its suffix; ids are posix paths relative to it.

    Hidden files and folders (names that begin with ".") and the system's are passed over. A link
    to a file inside of the folder is read; no link to a folder is followed.

    Raises
    ------
    InputError
        If the folder is none or cannot be opened.
    """
    real_root = os.path.realpath(expanded(root))
    if not Path(real_root).is_dir():
        raise InputError(f"{root} is not a folder; set data.root to the folder of your images")
    found = Candidates(str(root), real_root)
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(Path(real_root, folder)) as listed:
                entries = list(listed)
        except OSError as error:
            if not folder:
                raise InputError(
                    f"{root} cannot be opened ({error.strerror}); change its permissions"
                ) from None
            found.rejected[folder] = f"the folder cannot be opened ({error.strerror})"
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in OF_THE_SYSTEM:
                continue
            name = f"{folder}/{entry.name}" if folder else entry.name
            suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
            reason = _why_not_followed(entry, real_root) if entry.is_symlink() else ""
            is_folder = not reason and entry.is_dir()
            if not (reason or is_folder or IMAGE_SUFFIX.fullmatch(suffix)):
                found.skipped[in_utf8(suffix) or "no suffix"] += 1
                continue
            if not (reason or is_folder or entry.is_file()):
                reason = "not a regular file"
            if not reason and in_utf8(name) != name:
                # It could be neither an id in a UTF-8 file nor a name in a labelling tool.
                reason = "its name is not valid UTF-8"
            if reason:
                found.rejected[in_utf8(name)] = reason
            elif is_folder:
                folders.append(name)
            else:
                found.files[name] = name
    return found


def _why_not_followed(link: os.DirEntry, real_root: str) -> str:
    try:
        target = os.path.realpath(link.path, strict=True)
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})"
    if os.path.commonpath((target, real_root)) != real_root:
        return "a link that leads out of the folder"
    return "a link to a folder, which is read where it lies" if link.is_dir() else ""


def in_utf8(name: str) -> str:
    r"""Write the bytes of a file name that are not UTF-8 as \x.., as a text file needs it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
