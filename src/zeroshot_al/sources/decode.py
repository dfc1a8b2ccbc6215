"""One image file of any kind to 8-bit RGB pixels, or the reason why not.

Made for files that nobody has checked. The size is judged by the header, before a pixel is decoded;
only formats whose decoders are meant for untrusted input are tried (Pillow's reader of PostScript
runs another program).
"""

import hashlib
import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.samples import RejectedError, Samples, describe_tiff, read_samples
from zeroshot_al.sources.user_files import open_regular

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")  # JPEG stands for MPO as well
# The largest photo sensors have 200 megapixels (16,320 x 12,240), and Pillow takes 4 bytes for
# each: a worker then needs about a gigabyte. More than that is a scan to be cut up, or a bomb.
MAX_PIXELS = 200_000_000
TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
EXIF_KEYS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # of Image.info


class Decoded(NamedTuple):
    """An image's pixels, uint8 (height, width, 3), and whether they had more than 8 bits."""

    pixels: np.ndarray
    was_deep: bool


def decode(path: str | os.PathLike, size_px: int | None) -> Decoded:
    """Decode the first frame of a file to RGB, upright, on white, a square of the working size.

    Parameters
    ----------
    path : path
    size_px : int, optional
        Side of the central square, resized with antialiasing; the same as resizing the shorter
        side to it and cutting off the rest, without the rest's work. None leaves the size.

    Returns
    -------
    Decoded
        Samples of more than 8 bits are stretched as by `Samples.eight_bits`. CMYK and palettes are
        converted without their colour profile.

    Raises
    ------
    RejectedError
        If the file is not a complete image, not a regular file, or claims more than `MAX_PIXELS`.
    """
    with _opened(path) as (image, file):
        loaded = _loaded(image, file, size_px)
        was_deep = isinstance(loaded, Samples)
        if was_deep:
            loaded = Image.fromarray(loaded.eight_bits())
        return Decoded(_upright_square(_on_white(loaded), _orientation(image), size_px), was_deep)


@contextmanager
def expected_readable(path: str | os.PathLike) -> Iterator[None]:
    """Raise an `InputError` for a `RejectedError` of a file that gave an image before."""
    try:
        yield
    except RejectedError as error:
        raise InputError(
            f"{path} cannot be read ({error}); restore it or run download again"
        ) from None


def decode_whole(path: str | os.PathLike, longest_px: int) -> np.ndarray:
    """Decode as `decode`, but all of the image, its longer side at most `longest_px`.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8

    Raises
    ------
    RejectedError
        As `decode`.
    """
    with _opened(path) as (image, file):
        loaded = _loaded(image, file, longest_px)
        if isinstance(loaded, Samples):
            loaded = Image.fromarray(loaded.eight_bits())
        loaded = _on_white(loaded)
        loaded.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
        return _upright_square(loaded, _orientation(image), None)


def original_digest(path: str | os.PathLike) -> bytes:
    """Hash what a file decodes to, before its depth or size is reduced, and how it is turned."""
    with _opened(path) as (image, file):
        loaded = _loaded(image, file, None)
        if isinstance(loaded, Samples):
            values = loaded.values
        else:
            values = np.asarray(loaded.convert("RGBA" if loaded.has_transparency_data else "RGB"))
        digest = hashlib.sha256(f"{values.dtype} {values.shape} {_orientation(image)}".encode())
        digest.update(np.ascontiguousarray(values))
        return digest.digest()


def upright_size_px(path: str | os.PathLike) -> tuple[int, int]:
    """Read an image's width and height as a viewer shows it, turned as its EXIF says."""
    with _opened(path) as (image, _):
        return image.size[::-1] if _orientation(image) > 4 else image.size  # 5 to 8: on its side


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """Open an image file, and raise whatever fails until it is closed as a `RejectedError`."""
    try:
        with open_regular(path) as file, _own_limits():
            if os.fstat(file.fileno()).st_size == 0:
                raise RejectedError("the file is empty")
            try:
                image = Image.open(file, formats=FORMATS)
            except UnidentifiedImageError:
                raise RejectedError(_why_not(file)) from None
            with image:
                yield image, file
    except RejectedError:
        raise
    except MemoryError:
        raise RejectedError("too large for the memory") from None
    # Pillow's decoders fail on broken files with almost any exception; each is a reason.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror is not None:
            reason = f"cannot be opened ({error.strerror})" if error.errno else error.strerror
            raise RejectedError(reason) from None
        raise RejectedError(f"damaged or truncated ({_in_a_line(error)})") from None


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _why_not(file: BinaryIO) -> str:
    """Say why Pillow takes a file for no image of its formats: it may be one of a rare kind."""
    file.seek(0)
    head = file.read(16).ljust(16, b"\0")
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(head) is True:
            try:
                if name == "TIFF":
                    return describe_tiff(file)
                file.seek(0)
                factory(file)
            except Exception as error:
                # Pillow's own words of a kind that it does not read; others come from broken bytes.
                own = isinstance(error, SyntaxError) and error.__cause__ is None
                why = _in_a_line(error) if own else "damaged or truncated"
                return f"a {name} that cannot be read ({why})"
    return "not a JPEG, PNG, WebP, BMP, TIFF or GIF image"


@contextmanager
def _own_limits() -> Iterator[None]:
    """Put `MAX_PIXELS` in the place of Pillow's own limit, and keep its warnings off the screen."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _loaded(image: Image.Image, file: BinaryIO, size_px: int | None) -> Image.Image | Samples:
    """Decode all of the image, or of a large JPEG a half, quarter or eighth of its size."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RejectedError(
            f"the header claims {width} x {height} pixels, more than {MAX_PIXELS:,} in all"
        )
    if image.format not in ("JPEG", "MPO"):
        return read_samples(image, file) or image
    _draft(image, size_px)
    try:
        image.load()
    except OSError:
        # A file without its end marker is complete if what would follow changes no pixel.
        file.seek(0)
        content = file.read().rstrip(b"\xff")
        image, other = (
            Image.open(io.BytesIO(content + more + b"\xff\xd9"), formats=("JPEG",))
            for more in (b"", b"\x55" * 64)
        )
        for tried in (image, other):
            _draft(tried, size_px)
        if image.tobytes() != other.tobytes():
            raise
    return image


def _draft(image: Image.Image, size_px: int | None) -> None:
    if size_px is not None:
        # Decoded at 1/2, 1/4 or 1/8 of its size while that leaves twice what is needed.
        image.draft(None, (2 * size_px, 2 * size_px))


def _upright_square(image: Image.Image, orientation: int, size_px: int | None) -> np.ndarray:
    if size_px is not None and image.size != (size_px, size_px):
        short = min(image.size)
        left, top = ((side - short) / 2 for side in image.size)
        image = image.resize(
            (size_px, size_px),
            Image.Resampling.BICUBIC,
            box=(left, top, left + short, top + short),
            # Pillow averages n pixels with an error of n / 2^24: in blocks of more than 128 x 128
            # white turns gray.
            reducing_gap=2.0 if short <= 256 * size_px else None,
        )
    if orientation in TRANSPOSED:
        image = image.transpose(TRANSPOSED[orientation])
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; PNG may tell it at its end, so only once loaded."""
    if not any(key in image.info for key in EXIF_KEYS):
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return found if found in range(1, 9) else 1
    except Exception:  # broken metadata, of whatever kind, do not make an image unreadable
        return 1


def _on_white(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB, what is transparent to white."""
    if image.has_transparency_data:
        # Old programs leave the fourth byte of a BMP's pixels at 0, and every viewer ignores it.
        if image.format in ("BMP", "DIB") and image.getextrema()[-1] == (0, 0):
            return image.convert("RGB")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
