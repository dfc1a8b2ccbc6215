"""Images for the pages, as data addresses: of the pool's pixels, or of the files themselves."""

import base64
import io
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import numpy as np
from PIL import Image

from zeroshot_al.sources.decode import decode_whole, expected_readable
from zeroshot_al.sources.decoders import read_in_turn, run_decoders

PIXELATED_BELOW_PX = 64  # smaller images are shown as they are, with crisp pixels
FILES_A_JOB = 16


def thumbnail(pixels: np.ndarray, longest_px: int) -> tuple[str, bool]:
    """Encode an image as a data address.

    Parameters
    ----------
    pixels : ndarray of shape (height, width, 3), uint8
    longest_px : int
        Its longer side is made no longer than that.

    Returns
    -------
    str
        PNG of a small image, JPEG of any other.
    bool
        Whether it is small, to be shown with crisp pixels.
    """
    image, stream = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    small = max(image.size) < PIXELATED_BELOW_PX
    if small:
        image.save(stream, "PNG", optimize=True)
    else:
        image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
        image.save(stream, "JPEG", quality=80, optimize=True)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}", small


def file_thumbnails(paths: Sequence[str], longest_px: int) -> list[str]:
    """Encode files, whole and upright, as data addresses; several processes share the work.

    Raises
    ------
    InputError
        If one of the files cannot be read.
    """
    jobs = [range(len(paths))[i : i + FILES_A_JOB] for i in range(0, len(paths), FILES_A_JOB)]
    found = {}
    work = partial(_encode, longest_px)
    with closing(run_decoders("", paths, work, jobs, "thumbnails")) as done:
        for job, addresses in done:
            found.update(zip(job, addresses, strict=True))
    return [found[number] for number in range(len(paths))]


def _encode(longest_px: int, job: range) -> tuple[range, list[str]]:
    addresses = []
    for _, path in read_in_turn(job):
        with expected_readable(path):
            addresses.append(thumbnail(decode_whole(path, longest_px), longest_px)[0])
    return job, addresses
