"""Images in class folders: train/<class>/* and test/<class>/*."""

import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from zeroshot_al.cores import n_cores
from zeroshot_al.errors import InputError
from zeroshot_al.memory import check_memory, images_text
from zeroshot_al.pool import SPLITS
from zeroshot_al.sources.canonical import RawImages
from zeroshot_al.sources.decode import FORMATS
from zeroshot_al.sources.folder import leads_out
from zeroshot_al.user_files import open_regular

# What Pillow raises on a broken file, beside OSError, depends on the format and on the damage.
BROKEN_IMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
                Image.DecompressionBombError)  # fmt: skip
BLOCK = 256  # images a task
# Below, Pillow holds the interpreter's lock most of the time, and a second thread slows the first:
# PNGs of 32 x 32 decode at 7,800/s with one thread and 5,100/s with two, of 64 x 64 at 4,800
# and 6,200, of 224 x 224 at 650 and 1,500 (2 cores).
ONE_THREAD_BELOW_PX = 48 * 48


@dataclass(frozen=True)
class Listing:
    """The files under a root, sorted by path: names are posix paths relative to the root."""

    root: Path
    names: tuple[str, ...]
    splits: tuple[str, ...]
    labels: tuple[str, ...]


def list_class_folders(root: str | Path) -> Listing:
    """List root/train/<class>/* and root/test/<class>/*; names that begin with "." are skipped.

    Raises
    ------
    InputError
        If a split or class folder is missing or empty, if the splits' classes differ, if a file or
        folder lies where the layout has no place for it, or if a link leads out of the root.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root} is not a folder; it must hold train/<class>/ and test/<class>/")
    names, splits, labels = [], [], []
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
                names.append(f"{split}/{label}/{entry.name}")
                splits.append(split)
                labels.append(label)
    return Listing(root, tuple(names), tuple(splits), tuple(labels))


def read_listing(listing: Listing) -> RawImages:
    """Decode every file of a listing to RGB.

    Returns
    -------
    RawImages
        With images of shape (n_samples, height, width, 3), uint8.

    Raises
    ------
    InputError
        If a file is no whole 8-bit image, or its size is not that of the first file.
    """
    paths = [listing.root / name for name in listing.names]
    images = decode_images(paths)
    return RawImages(images, listing.splits, listing.labels, listing.names)


def decode_images(paths: Sequence[Path]) -> np.ndarray:
    """Decode image files of one size into one array of shape (n, height, width, 3), uint8.

    Raises
    ------
    InputError
        As `read_listing`.
    """
    width, height = _size_px(paths[0])
    shape = (height, width, 3)
    check_memory(
        len(paths) * height * width * 3, f"decoding {images_text(len(paths), shape)}",
        "resize them or give fewer or more memory",
    )  # fmt: skip
    images = np.empty((len(paths), *shape), dtype=np.uint8)

    def decode_block(start: int) -> int:
        block = range(start, min(start + BLOCK, len(paths)))
        for i in block:
            images[i] = _decode(paths[i], (width, height), paths[0])
        return len(block)

    # Threads rather than processes: Pillow decodes without the lock, and nothing is copied over.
    n_workers = 1 if width * height < ONE_THREAD_BELOW_PX else n_cores()
    with (
        ThreadPoolExecutor(n_workers) as executor,
        tqdm(total=len(paths), desc="decode", unit="img", disable=None) as progress,
    ):
        for n_done in executor.map(decode_block, range(0, len(paths), BLOCK)):
            progress.update(n_done)
    return images


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
    if not entries:
        raise InputError(f"{folder} has no class folder; put images into {folder}/<class>/")
    return [entry.name for entry in entries]


def _visible(folder: Path, root: Path) -> list[os.DirEntry]:
    # File managers and macOS leave hidden files such as .DS_Store.
    with os.scandir(folder) as listed:
        entries = sorted(
            (entry for entry in listed if not entry.name.startswith(".")),
            key=lambda entry: entry.name,
        )
    for entry in entries:
        if not entry.is_symlink():
            continue
        if leads_out(entry.path, root):
            raise InputError(f"{entry.path} is a link that leads out of {root}; remove it")
        if not Path(entry.path).exists():
            raise InputError(f"{entry.path} is a link that leads nowhere; remove it")
    return entries


def _size_px(path: Path) -> tuple[int, int]:
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            return image.size
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from None


def _decode(path: Path, size_px: tuple[int, int], first: Path) -> np.ndarray:
    try:
        with open_regular(path) as file, Image.open(file, formats=FORMATS) as image:
            # Before decoding, so that a decompression bomb costs nothing.
            if image.size != size_px:
                raise InputError(
                    f"{path} has {image.width} x {image.height} pixels but {first} has "
                    f"{size_px[0]} x {size_px[1]}; resize the images to one size"
                )
            # Pillow's own conversion to RGB would clip these at 255: all white, without a word.
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{path} has more than 8 bits a channel; convert it to 8 bits")
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except BROKEN_IMAGE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "not a JPEG, PNG, WebP, BMP, TIFF or GIF image"
    else:
        # strerror, because an OSError's text repeats the path.
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(text.split())
    return InputError(f"{path} cannot be read as an image ({reason}); replace or remove it")
