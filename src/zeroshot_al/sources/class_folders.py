"""Images in class folders: train/<class>/* and test/<class>/*."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded, read_npy
from zeroshot_al.base.pool import SPLITS, Pool
from zeroshot_al.sources.canonical import canonical_order
from zeroshot_al.sources.folder import NOT_UTF8, leads_out, passed_over, printable
from zeroshot_al.sources.ingest import Ingested
from zeroshot_al.sources.left_out import write_rejected
from zeroshot_al.sources.npy_rows import keep_rows
from zeroshot_al.sources.working_size import decode_to_working_size, refuse_all

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """The files under a root, folder by folder.

    Parameters
    ----------
    root : Path
    names : sequence of str, n_files
        Posix paths relative to the root: split/class/file.
    splits, labels : sequence of str, n_files each
    rejected : dict of str to str
        Reason by name, of files that are not among them.
    """

    root: Path
    names: Sequence[str]
    splits: Sequence[str]
    labels: Sequence[str]
    rejected: dict[str, str] = field(default_factory=dict)


def list_class_folders(root: str | Path) -> Listing:
    """List root/train/<class>/* and root/test/<class>/*, but hidden files and folders.

    Raises
    ------
    InputError
        If a split or class folder is missing or empty, if the splits' classes differ or are no
        text, if a file or folder lies where the layout has no place for it, or if a link leads out
        of the root.
    """
    root = expanded(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; it must hold train/<class>/ and test/<class>/")
    found = Listing(root, [], [], [])
    classes = {split: _class_folders(root, split) for split in SPLITS}
    for split, other in (SPLITS, SPLITS[::-1]):
        for name in classes[split]:
            if name not in classes[other]:
                raise InputError(
                    f"the class {name!r} is in {root / split} but not in {root / other}; "
                    "both must have a folder for each class"
                )
    for split in SPLITS:
        for label in classes[split]:
            folder = root / split / label
            files = _visible(folder, root)
            if not files:
                raise InputError(f"the class folder {folder} is empty; add images or remove it")
            for entry in files:
                if entry.is_dir():
                    raise InputError(
                        f"{folder / entry.name} is a folder; put its images directly into {folder}"
                    )
                name = f"{split}/{label}/{entry.name}"
                if printable(name) != name:
                    found.rejected[printable(name)] = NOT_UTF8
                    continue
                found.names.append(name)
                found.splits.append(split)
                found.labels.append(label)
    return found


def read_class_folders(root: str | Path, size_px: int | None, directory: Path) -> Pool:
    """Decode the user's class folders into `directory`, in canonical order.

    Images of equal pixels stay, since each has a split and a label of its own.

    Parameters
    ----------
    root : path
    size_px : int, optional
        As for `decode_image`; None demands one size of all.
    directory : Path
        Gets `images.npy` and `rejected.csv`.

    Returns
    -------
    Pool
        Its ids are the paths relative to the root, its images a memory map of `images.npy`.

    Raises
    ------
    InputError
        If not one image of a class can be read in a split, or as `list_class_folders` and
        `decode_to_working_size`.
    """
    listing = list_class_folders(root)
    out = directory / "images.npy"
    found, rejected = decode_to_working_size(
        root, str(listing.root), listing.names, listing.names, listing.rejected, size_px, out
    )
    _check_classes(root, (listing.names[i] for i in found.good), rejected)
    write_rejected(directory, rejected)
    if rejected:
        first = min(rejected)
        log.warning(
            "%s: %d files rejected (rejected.csv), the first %r: %s",
            root,
            len(rejected),
            first,
            rejected[first],
        )
    return pool_in_place(listing, found, out, listing.names)


def pool_in_place(
    listing: Listing, found: Ingested, out: Path, names: Sequence[str] | None
) -> Pool:
    """Bring the decoded rows of a listing into canonical order, and cut off those without image.

    Parameters
    ----------
    listing : Listing
    found : Ingested
        What `decode_files` made of it.
    out : Path
        The array; is changed.
    names : sequence of str, optional
        As for `canonical_order`, one for each file of the listing.

    Returns
    -------
    Pool
        Its images are a memory map of `out`.
    """
    rows = found.good
    splits, labels = ([values[i] for i in rows] for values in (listing.splits, listing.labels))
    names = names and [names[i] for i in rows]
    order, ids = canonical_order(found.digests[rows], splits, labels, names)
    keep_rows(out, rows[order])
    splits, labels = (tuple(values[i] for i in order) for values in (splits, labels))
    return Pool(read_npy(out, memory_map=True), ids, splits, labels)


def _check_classes(root: str | Path, kept: Iterable[str], rejected: Mapping[str, str]) -> None:
    """Check that each class folder, what stands before a name's last "/", has an image left."""
    left = {name.rpartition("/")[0] for name in kept}
    lost = {name: why for name, why in rejected.items() if name.rpartition("/")[0] not in left}
    if lost:
        folder = min(lost).rpartition("/")[0]
        of_folder = {name: why for name, why in lost.items() if name.rpartition("/")[0] == folder}
        refuse_all(Path(root, folder), of_folder)


def _class_folders(root: Path, split: str) -> list[str]:
    folder = root / split
    if leads_out(folder, root):
        raise InputError(f"{folder} is a link that leads out of {root}; remove it")
    if not folder.is_dir():
        raise InputError(f"{root} has no folder {split!r}; put images into {folder}/<class>/")
    entries = _visible(folder, root)
    for entry in entries:
        if not entry.is_dir():
            raise InputError(
                f"{folder / entry.name} lies outside of the class folders; "
                f"move it into {folder}/<class>/"
            )
        if printable(entry.name) != entry.name:
            raise InputError(
                f"the name of {folder / printable(entry.name)} is not valid UTF-8; rename it"
            )
    if not entries:
        raise InputError(f"{folder} has no class folder; put images into {folder}/<class>/")
    return [entry.name for entry in entries]


def _visible(folder: Path, root: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as listed:
        entries = sorted(
            (entry for entry in listed if not passed_over(entry.name)), key=lambda entry: entry.name
        )
    for entry in entries:
        if not entry.is_symlink():
            continue
        if leads_out(entry.path, root):
            raise InputError(f"{entry.path} is a link that leads out of {root}; remove it")
        if not Path(entry.path).exists():
            raise InputError(f"{entry.path} is a link that leads nowhere; remove it")
    return entries
