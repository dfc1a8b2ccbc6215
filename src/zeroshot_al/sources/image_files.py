"""Where the pool's images lie as files, for whoever shows or labels them at their full size."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.sources.id_files import read_paths
from zeroshot_al.sources.params import DataParams


@dataclass(frozen=True)
class ImageFiles:
    """The files of a pool's images.

    Parameters
    ----------
    folder : Path
        A folder above all of them, absolute.
    paths : mapping of str to str
        Absolute path by id.
    """

    folder: Path
    paths: Mapping[str, str]

    def name(self, image_id: str) -> str:
        """Path of an image relative to the folder, with "/"."""
        return Path(os.path.relpath(self.paths[image_id], self.folder)).as_posix()


def image_files(params: DataParams, ids: Sequence[str]) -> ImageFiles | None:
    """Find the files of a pool's images; None for a source whose images have none."""
    if params.source in ("folder", "class_folders"):
        folder = expanded(params.root).resolve()
        return ImageFiles(folder, {name: str(folder / name) for name in ids})
    if params.source != "csv":
        return None
    listed = read_paths(params.root)
    for name in ids:
        if name not in listed.files:
            raise InputError(
                f"the image {name!r} is not in {params.root} any more; run download again"
            )
    paths = {
        name: os.path.abspath(os.path.join(listed.root, listed.files[name]))  # noqa: PTH100, PTH118
        for name in ids
    }
    folder = Path(os.path.commonpath([Path(path).parent for path in paths.values()]))
    return ImageFiles(folder, paths)
