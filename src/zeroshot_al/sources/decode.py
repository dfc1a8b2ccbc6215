"""One image file of any kind to 8-bit RGB pixels, or the reason why not.

Made for files that nobody has checked. The size is judged by the header, before a pixel is decoded;
only formats whose decoders are meant for untrusted input are tried (Pillow's reader of PostScript
runs another program).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

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


class RejectedError(Exception):
    """A file that gives no image; the text is the reason, for `rejected.csv`."""


def decode_image(path: str | os.PathLike, size_px: int | None) -> np.ndarray:
    """Decode the first frame of a file to RGB, upright, on white, a square of the working size.

    Parameters
    ----------
    path : path
    size_px : int, optional
        Side of the central square, resized with antialiasing; the same as resizing the shorter
        side to it and cutting off the rest, without the rest's work. None leaves the size.

    Returns
    -------
    ndarray of shape (size_px, size_px, 3) or (height, width, 3), uint8
        16-bit values are divided by 257, those of 12 bits likewise; floats in 0..1 are multiplied
        by 255, other floats and 32-bit integers are stretched from their minimum to their maximum.
        CMYK and palettes are converted without their colour profile.

    Raises
    ------
    RejectedError
        If the file is not a whole image, not a regular file, or claims more than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        return _pixels(image, size_px)


def upright_size_px(path: str | os.PathLike) -> tuple[int, int]:
    """Read an image's width and height as a viewer shows it, turned as its EXIF says.

    Raises
    ------
    RejectedError
        As `decode_image`, for what the header alone tells.
    """
    with _opened(path) as image:
        return image.size[::-1] if _orientation(image) > 4 else image.size  # 5 to 8: on its side


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Image.Image]:
    """Open an image file, and tell whatever fails until it is closed as a `RejectedError`."""
    try:
        with open_regular(path) as file, _own_limits():
            if os.fstat(file.fileno()).st_size == 0:
                raise RejectedError("the file is empty")
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except RejectedError:
        raise
    except UnidentifiedImageError:
        raise RejectedError("not a JPEG, PNG, WebP, BMP, TIFF or GIF image") from None
    except MemoryError:
        raise RejectedError("too large for the memory") from None
    # Pillow's decoders fail on broken files with almost any exception; each is told as a reason.
    except Exception as error:
        if isinstance(error, OSError) and error.strerror is not None:
            told = f"cannot be opened ({error.strerror})" if error.errno else error.strerror
            raise RejectedError(told) from None
        text = " ".join(str(error).split()) or type(error).__name__
        raise RejectedError(f"damaged or truncated ({text})") from None


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


def _pixels(image: Image.Image, size_px: int | None) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise RejectedError(
            f"the header claims {width} x {height} pixels, more than {MAX_PIXELS:,} in all"
        )
    if size_px is not None and image.format in ("JPEG", "MPO"):
        # Decoded at 1/2, 1/4 or 1/8 of its size while that leaves twice what is needed.
        image.draft(None, (2 * size_px, 2 * size_px))
    image.load()
    orientation = _orientation(image)
    image = _eight_bits(image)
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


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert to mode L or RGB: alpha on white, more than 8 bits scaled instead of clipped."""
    if image.mode.startswith("I;16"):
        largest = 65535
        if image.format == "TIFF":
            largest = 2 ** image.tag_v2.get(258, (16,))[0] - 1  # BitsPerSample; 12 in microscopy
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8))
    if image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        low, high = values.min(), values.max()
        if not np.isfinite(low + high):
            raise RejectedError("holds NaN or infinite values")
        if image.mode == "F" and low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        scaled = (values - low) * (255 / max(high - low, np.finfo(np.float64).tiny))
        return Image.fromarray(np.rint(scaled).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
