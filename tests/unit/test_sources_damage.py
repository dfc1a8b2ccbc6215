"""Image files that are damaged or made to do harm: pixels or a reason, and nothing else."""

import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from hostile import photo, png_chunk
from tiffs import tiff
from unit.test_sources_decode import saved, why_not
from zeroshot_al.sources.decode import RejectedError, decode, upright_size_px


def test_random_damage_gives_pixels_or_a_reason(tmp_path):
    """Flip bytes of each format: nothing but `RejectedError` may come out."""
    draw = np.random.default_rng(0)
    path, n_rejected = tmp_path / "damaged", 0
    for suffix in ("png", "jpg", "gif", "bmp", "tif", "webp"):
        whole = saved(tmp_path / f"a.{suffix}", Image.fromarray(photo(5))).read_bytes()
        for _ in range(60):
            content = bytearray(whole)
            for place in draw.integers(0, len(whole), 4):
                content[place] = draw.integers(256)
            path.write_bytes(content)
            try:
                assert decode(path, 16).pixels.shape == (16, 16, 3)
            except RejectedError as error:
                assert str(error)
                n_rejected += 1
    assert n_rejected > 30


@pytest.mark.parametrize(
    ("name", "start"), [(b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0"), (b"iCCP", b"x\0\0")]
)
def test_packed_text_and_profiles_do_not_unfold(tmp_path, name, start):
    """256 MiB in 256 KiB, ten times: at most a mebibyte of each is unpacked."""
    whole = saved(tmp_path / "a.png", Image.fromarray(photo(6))).read_bytes()
    bomb = start + zlib.compress(bytes(2**28), 9)
    # Behind the header.
    (tmp_path / "a.png").write_bytes(whole[:33] + png_chunk(name, bomb) * 10 + whole[33:])
    start_s = time.process_time()
    try:
        assert np.array_equal(decode(tmp_path / "a.png", None).pixels, photo(6))
    except RejectedError as error:
        assert "damaged or truncated (" in str(error)
    # Unpacking one of them takes 0.3 s and 256 MiB.
    assert time.process_time() - start_s < 1


@pytest.mark.parametrize(
    "change",
    [
        (),
        (700, 7, 2**32 - 1, 0),  # XMP of 4 GiB
        (34377, 7, 2**31, 400),  # Photoshop's block of 2 GiB
        (273, 4, 2**30, 400),  # a billion strips
        (279, 4, 1, 2**32 - 1),  # of 4 GiB
        (258, 3, 2**20, 400),  # bits of a million samples
        (277, 3, 1, 65535),  # so many samples
        (259, 3, 1, 60_000),  # an unknown compression
        (322, 4, 1, 0),  # tiles of no width
        (278, 4, 1, 0),  # strips of no rows
        (274, 2, 4, 0x36363636),  # an orientation in words
        (274, 12, 1, 400),  # as a float
        (282, 5, 1, 400),  # a resolution of 0 / 0
        (65000, 99, 2**32 - 1, 2**32 - 1),  # nothing known
        (330, 4, 1, 8),  # itself within itself
    ],
)
def test_odd_tiff_tags_give_pixels_or_a_reason(tmp_path, change):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(np.zeros((8, 8), np.uint8), [change] if change else []))
    try:
        assert decode(path, 8).pixels.shape == (8, 8, 3)
        assert upright_size_px(path) == (8, 8)
    except RejectedError as error:
        assert change
        assert str(error)


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        *((3, 1, value) for value in (0, 9, 65535)),
        *((2, 4, 0x36363636), (3, 0, 6), (7, 1, 6), (12, 1, 2**32 - 1), (99, 1, 6)),
    ],
)
def test_an_orientation_that_is_none_turns_nothing(tmp_path, kind, count, value):
    pixels = photo(9, 12, 20)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, kind, count, value) + bytes(4)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    assert np.array_equal(decode(path, None).pixels, pixels)
    assert upright_size_px(path) == (20, 12)


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(evil) (w) file\nshowpage\n",
        b"%PDF-1.7\n",
        b"#!/bin/sh\ntouch evil\n",
        b"PK\3\4",
        b"\x80\x04cposix\nsystem\n",
        *("ppm", "ico", "pcx"),
    ],
)
def test_other_formats_are_not_tried_and_nothing_is_run(tmp_path, content):
    if isinstance(content, str):
        path = saved(tmp_path / f"a.{content}", Image.fromarray(photo(0)))
        content = path.read_bytes()
        path.unlink()
    why = why_not(tmp_path, content + bytes(200))
    assert why == "not a JPEG, PNG, WebP, BMP, TIFF or GIF image"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_pipes_devices_and_folders_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "x.jpg").mkdir()
    for name in ("pipe.png", "x.jpg", "missing.png", "/dev/zero", "/dev/tty", "/dev/stdin"):
        with pytest.raises(RejectedError, match=r"not a regular file|cannot be opened|empty"):
            decode(tmp_path / name, 8)
