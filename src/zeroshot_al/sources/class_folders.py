"""Images in class folders: train/<class>/ and test/<class>/."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_npy
from zeroshot_al.base.pool import SPLITS, Pool
from zeroshot_al.sources.canonical import canonical_order
from zeroshot_al.sources.folder import Candidates, list_folder
from zeroshot_al.sources.ingest import Ingested
from zeroshot_al.sources.npy_rows import keep_rows
from zeroshot_al.sources.working_size import decode_candidates, refuse_all


def list_class_folders(root: str | Path) -> Candidates:
    """List as `list_folder` the images of root/train/<class>/ and root/test/<class>/.

    Raises
    ------
    InputError
        If a class has no image in one of them.
    """
    found = list_folder(root)
    for name in list(found.files):
        split, *inside = name.split("/", 2)
        if split not in SPLITS or len(inside) < 2:
            del found.files[name]
            found.rejected[name] = "outside of train/<class>/ and test/<class>/"
    _check_classes(found, found.files, found.rejected)
    return found


def read_class_folders(root: str | Path, size_px: int | None, directory: Path) -> Pool:
    """Decode the user's class folders into `directory`, in canonical order.

    Images of equal pixels stay, since each has a split and a label of its own.

    Parameters
    ----------
    root, size_px
        As in `DataParams`.
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
        `decode_candidates`.
    """
    candidates = list_class_folders(root)
    names = sorted(candidates.files)
    found, rejected = decode_candidates(candidates, names, size_px, directory)
    _check_classes(candidates, [names[row] for row in found.good], rejected)
    splits, labels = splits_and_labels(names)
    return pool_in_place(splits, labels, found, directory / "images.npy", names)


def splits_and_labels(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the first and the second folder of each path."""
    parts = [name.split("/", 2) for name in names]
    return [part[0] for part in parts], [part[1] for part in parts]


def pool_in_place(
    splits: Sequence[str],
    labels: Sequence[str],
    found: Ingested,
    out: Path,
    names: Sequence[str] | None = None,
) -> Pool:
    """Bring decoded rows into canonical order, and cut off those without an image.

    Parameters
    ----------
    splits, labels : sequence of str, n_files each
    found : Ingested
        What `decode_files` made of the files.
    out : Path
        The array; is changed.
    names : sequence of str, n_files, optional
        As for `canonical_order`.

    Returns
    -------
    Pool
        Its images are a memory map of `out`.
    """
    rows = found.good
    splits, labels = ([values[row] for row in rows] for values in (splits, labels))
    names = names and [names[row] for row in rows]
    order, ids = canonical_order(found.digests[rows], splits, labels, names)
    keep_rows(out, rows[order])
    splits, labels = (tuple(values[i] for i in order) for values in (splits, labels))
    return Pool(read_npy(out, memory_map=True), ids, splits, labels)


def _check_classes(
    candidates: Candidates, names: Iterable[str], rejected: Mapping[str, str]
) -> None:
    """Check that each class that is listed has an image among the names, in both splits."""
    where, there = Path(candidates.where), {tuple(name.split("/", 2)[:2]) for name in names}
    labels = sorted(set(splits_and_labels(candidates.files)[1]))
    if not labels and rejected:
        refuse_all(where, rejected)
    if not labels:
        raise InputError(f"{where} holds no image in train/<class>/ and test/<class>/; add some")
    for split, label in sorted(set(product(SPLITS, labels)) - there):
        place = Path(split, label)
        why = {
            name: reason
            for name, reason in rejected.items()
            if Path(name).is_relative_to(place) or place.is_relative_to(name)
        }
        if why:
            refuse_all(where / place, why)
        raise InputError(f"{where / place} holds no image; each class needs some there")
