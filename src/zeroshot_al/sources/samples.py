"""Samples of more than 8 bits, or with a sign: read in full, and brought to 8 bits by their range.

Pillow reads most TIFFs, but some of them wrongly and without a word. What it gets wrong is set
right here where a few lines do, and refused by name where they do not.
"""

import sys
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

# Of an image's samples; a hot pixel or a speck of dust does not set the range.
RANGE_PERCENT = (0.1, 99.9)
MAX_SEEN = 2**20  # samples, drawn from a large image, that tell its range
NO_DATA_FROM = 1e38  # "no data" in float images without a tag for it: usually -3.4e38
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLES_PER_PIXEL, PLANES, SAMPLE_FORMAT = 258, 262, 277, 284, 339
GDAL_NO_DATA = 42113
KINDS = {1: "unsigned", 2: "signed", 3: "floating", 4: "undefined", 5: "complex", 6: "complex"}
# The raw modes of colours of which Pillow keeps the high byte of two.
OF_16_BITS = {f"{kind};16{order}" for kind in ("RGB", "RGBX", "RGBA", "LA", "R") for order in "LBN"}
# The raw mode that takes the low byte instead, by the last letter of that which takes the high one.
LOW_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


class RejectedError(Exception):
    """A file that gives no image; the text is the reason, for `rejected.csv`."""


@dataclass(frozen=True, eq=False)
class Samples:
    """An image's samples as its file has them.

    Parameters
    ----------
    values : ndarray of shape (height, width), (height, width, 3) or (height, width, 4)
        Integers or floats; the last of four is alpha, uint16.
    no_data : float, optional
        Stands for a pixel without a value, by GDAL's tag.
    white_is_zero : bool
    """

    values: np.ndarray
    no_data: float | None = None
    white_is_zero: bool = False

    def eight_bits(self) -> np.ndarray:
        """Stretch from the range that the image uses to 0..255, uint8; without data is black.

        Raises
        ------
        RejectedError
            If values are NaN or infinite, or none is left.
        """
        values = self.values[..., :3] if self.values.ndim == 3 else self.values
        absent = self._absent(values)
        seen = values.ravel() if absent is None else values[~absent]
        if not seen.size:
            raise RejectedError("holds no data: every value stands for none")
        if not np.isfinite(seen).all():
            raise RejectedError("holds NaN or infinite values")
        drawn = seen
        if seen.size > MAX_SEEN:
            drawn = np.random.default_rng(0).choice(seen, MAX_SEEN)
        low, high = map(float, np.percentile(drawn, RANGE_PERCENT))
        if low == high:  # nearly flat: what is not, counts
            low, high = float(seen.min()), float(seen.max())
        scaled = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        if absent is not None:
            scaled[absent] = low
        scaled -= low
        scaled *= 255 / (high - low) if high > low else 0
        pixels = np.rint(np.clip(scaled, 0, 255, out=scaled)).astype(np.uint8)
        if self.white_is_zero:
            pixels = 255 - pixels
        if absent is not None:
            pixels[absent] = 0
        if self.values.shape[2:] == (4,):
            alpha = (self.values[..., 3:] >> 8).astype(np.uint8)
            pixels = np.concatenate([pixels, alpha], axis=2)
        return pixels

    def _absent(self, values: np.ndarray) -> np.ndarray | None:
        found = []
        if self.no_data is not None:
            found.append(np.isnan(values) if np.isnan(self.no_data) else values == self.no_data)
        if values.dtype.kind == "f":
            found.append((np.abs(values) >= NO_DATA_FROM) & np.isfinite(values))
        return np.logical_or.reduce(found) if found else None


def read_samples(image: Image.Image, file: BinaryIO) -> Samples | None:
    """Load an image; return its samples if 8 bits do not hold them, else None.

    Parameters
    ----------
    image : Image
        Opened from `file` and not yet loaded.
    file : file
        Read a second time for the low bytes of colours of 16 bits, which Pillow drops.

    Raises
    ------
    RejectedError
        If it is a TIFF that Pillow reads wrongly.
    """
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if tags:
        _mend(image, tags)
    both_bytes = image.format in ("PNG", "TIFF") and _raw_mode(image) in OF_16_BITS
    image.load()
    if both_bytes:
        return Samples(_both_bytes(image, file))
    signed = _sample_format(tags) == 2
    if not (image.mode[0] in "IF" or (image.mode == "L" and signed)):
        return None
    values = np.asarray(image)
    if image.mode == "L":
        values = values.view(np.int8)
    elif image.mode == "I" and tags and not signed:
        values = values.view(np.uint32)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return Samples(values, _no_data(tags), tags.get(PHOTOMETRIC) == 0)


def describe_tiff(file: BinaryIO) -> str:
    """Describe the samples of a TIFF that Pillow does not open, by its tags."""
    file.seek(0)
    head = file.read(8)
    head += file.read(8) if head[2] == 43 else b""  # BigTIFF
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    return _describe(tags)


def _describe(tags) -> str:
    bits, samples = tags.get(BITS_PER_SAMPLE, (1,)), tags.get(SAMPLES_PER_PIXEL, 1)
    kind = KINDS.get(_sample_format(tags), "unknown")
    planes = " in separate planes" if samples > 1 and tags.get(PLANES) == 2 else ""
    return f"a TIFF of {bits[0]}-bit {kind} samples, {samples} a pixel{planes}, is not read"


def _sample_format(tags) -> int:
    return tags.get(SAMPLE_FORMAT, (1,))[0]


def _no_data(tags) -> float | None:
    try:
        return float(tags[GDAL_NO_DATA])
    except (KeyError, TypeError, ValueError):
        return None


def _mend(image: Image.Image, tags) -> None:
    """Set right what Pillow reads wrongly of a TIFF, or refuse it."""
    compressed = any(tile.codec_name == "libtiff" for tile in image.tile)
    deep = max(tags.get(BITS_PER_SAMPLE, (1,))) > 8
    if tags.get(PLANES) == 2 and tags.get(SAMPLES_PER_PIXEL, 1) > 1:
        # Of gray with more samples it takes the first; of two bytes the first, as two pixels.
        if image.mode in ("L", "I", "F") or image.mode.startswith("I;"):
            raise RejectedError(_describe(tags))
        if deep:
            if compressed or image.mode != "RGB" or tags.get(SAMPLES_PER_PIXEL) != 3:
                raise RejectedError(_describe(tags))
            order = "L" if tags.prefix == b"II" else "B"
            _change_raw_modes(image, lambda mode: f"{mode};16{order}")
    elif compressed:
        # libtiff gives numbers in the machine's byte order, whatever the file's.
        native = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}
        _change_raw_modes(image, lambda mode: native.get(mode, mode))


def _both_bytes(image: Image.Image, file: BinaryIO) -> np.ndarray:
    file.seek(0)
    with Image.open(file, formats=(image.format,)) as low:
        if image.format == "TIFF":
            _mend(low, low.tag_v2)
        if _raw_mode(low) == "LA;16B":  # four bytes, as those of RGBA
            _change_raw_modes(low, lambda _: "RGBA")
            pairs = np.asarray(low).astype(np.uint16)
            return pairs[..., [0, 0, 0, 2]] << 8 | pairs[..., [1, 1, 1, 3]]
        _change_raw_modes(low, lambda mode: mode[:-1] + LOW_BYTE[mode[-1]])
        return np.asarray(image).astype(np.uint16) << 8 | np.asarray(low)


def _raw_mode(image: Image.Image) -> str:
    args = image.tile[0].args
    return args if isinstance(args, str) else args[0]


def _change_raw_modes(image: Image.Image, changed) -> None:
    image.tile = [
        tile._replace(
            args=changed(tile.args)
            if isinstance(tile.args, str)
            else (changed(tile.args[0]), *tile.args[1:])
        )
        for tile in image.tile
    ]
