"""One file to pixels: what each kind of image becomes, and what is refused before it costs."""

import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo, png_chunk
from tiffs import tiff
from zeroshot_al.sources.decode import (
    MAX_PIXELS,
    RejectedError,
    decode_image,
    original_digest,
    upright_size_px,
)

SRC = Path(__file__).parents[2] / "src"


def saved(path, image, **options):
    image.save(path, **options)
    return path


def written(folder, content):
    (folder / "a").write_bytes(content)
    return folder / "a"


def why_not(folder, content):
    with pytest.raises(RejectedError) as error:
        decode_image(written(folder, content), None)
    return str(error.value)


def test_eight_bit_rgb_arrives_as_it_is(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(photo(0)))
    assert np.array_equal(decode_image(path, None), photo(0))
    assert np.array_equal(decode_image(path, 24), photo(0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("size_px", [None, 16])
def test_every_orientation_comes_out_upright(tmp_path, orientation, suffix, size_px):
    upright = photo(1, 32, 48)
    # How a camera that is held so stores the pixels: the inverse of what a viewer has to do.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    turned = Image.fromarray(np.ascontiguousarray(stored))
    path = saved(tmp_path / f"a.{suffix}", turned, exif=exif, **options)
    expected = decode_image(saved(tmp_path / "upright.png", Image.fromarray(upright)), size_px)
    found = decode_image(path, size_px)
    assert found.shape == expected.shape
    # Vertical and horizontal passes of the resizing round in another order when turned.
    assert np.abs(found.astype(int) - expected).max() <= (0 if size_px is None else 2)


def test_alpha_lies_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3], pixels[:, :, 0] = 255, 200
    found = decode_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), None)
    assert np.array_equal(found[:4], np.broadcast_to([200, 0, 0], (4, 8, 3)))
    assert (found[4:] == 255).all()
    gray = Image.fromarray(pixels[..., [0, 3]], "LA")
    found = decode_image(saved(tmp_path / "b.png", gray), None)
    assert (found[:4] == 200).all() and (found[4:] == 255).all()
    palette = Image.fromarray(np.repeat([[0], [1]], 4, axis=1).astype(np.uint8))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    found = decode_image(saved(tmp_path / "c.png", palette, transparency=1), None)
    assert found[0, 0].tolist() == [10, 20, 30]
    assert found[1, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("u1", 0, 255),
        ("i1", -128, 127),
        ("u2", 10, 112),  # a dim scan
        ("u2", 0, 2**10 - 1),
        ("u2", 0, 2**12 - 1),
        ("u2", 0, 2**14 - 1),
        ("u2", 21_000, 22_000),  # a thermal camera
        ("u2", 0, 2**16 - 1),
        ("i2", -2000, 3000),  # tomography
        ("u4", 0, 2**32 - 1),
        ("i4", -(2**31), 2**31 - 1),
        ("f4", 0, 0.002),
        ("f4", -3e5, 1e6),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_samples_of_any_depth_use_the_range_that_they_have(
    tmp_path, dtype, low, high, compressed, order
):
    ramp = np.linspace(low, high, 256).reshape(16, 16).astype(dtype)
    content = tiff(ramp, order=order, compressed=compressed)
    if (dtype, order) == ("u4", ">"):
        assert why_not(tmp_path, content) == (
            "a TIFF of 32-bit unsigned samples, 1 a pixel, is not read"
        )
        return
    found = decode_image(written(tmp_path, content), None)
    expected = (ramp.astype(float) - low) * 255 / (float(high) - low)
    assert np.abs(found[..., 0] - expected).max() <= 1
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_few_hot_pixels_do_not_hide_the_rest(tmp_path, suffix):
    dim = photo(0, 96, 96)[..., 0].astype(np.uint16)
    hot = dim.copy()
    hot[5, [3, 30, 70]] = 65535
    found = decode_image(saved(tmp_path / f"a.{suffix}", Image.fromarray(hot)), None)
    assert found[..., 0].std() > 0.9 * dim.std()


def test_a_nearly_flat_image_shows_what_is_not_flat(tmp_path):
    for value in (0.2, 7.5):
        flat = np.full((64, 64), value, np.float32)
        assert (decode_image(saved(tmp_path / "a.tif", Image.fromarray(flat)), None) == 0).all()
        flat[9, 9] += 0.1
        found = decode_image(saved(tmp_path / "a.tif", Image.fromarray(flat)), None)
        assert found[9, 9].tolist() == [255, 255, 255]
        assert found.sum() == 3 * 255


def test_a_large_image_s_range_is_told_by_a_part_of_it(tmp_path):
    ramp = np.repeat(np.linspace(100, 4000, 1500).astype(np.uint16)[None], 1500, axis=0)
    found = decode_image(saved(tmp_path / "a.png", Image.fromarray(ramp)), None)
    assert np.abs(found[0, :, 0] - (ramp[0] - 100.0) * 255 / 3900).max() <= 1.5


DIM_COLOURS = photo(3)[..., [0, 1, 2, 0]].astype(np.uint16) + 700


def png_of_16_bits(samples):
    """Build a PNG of (height, width, n) samples: gray and alpha, colours, or both."""
    height, width, n = samples.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    rows = samples.astype(">u2").reshape(height, -1).view(np.uint8)
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes())
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


@pytest.mark.parametrize(
    "content",
    [
        png_of_16_bits(DIM_COLOURS[..., :3]),
        *(
            tiff(DIM_COLOURS[..., :3], order=order, planes=planes, compressed=compressed)
            for order in "<>"
            for planes, compressed in ((False, False), (False, True), (True, False))
        ),
    ],
)
def test_both_bytes_of_colours_are_read(tmp_path, content):
    found = decode_image(written(tmp_path, content), None)
    assert np.abs(found - stretched(DIM_COLOURS[..., :3])).max() <= 1


@pytest.mark.parametrize("n", [2, 4])
def test_alpha_of_16_bits_lies_on_white(tmp_path, n):
    samples = DIM_COLOURS[..., -n:].copy()
    samples[..., -1] = 65535
    samples[:4, :, -1] = 0
    colours = np.broadcast_to(samples[..., :-1], (*samples.shape[:2], 3))
    contents = [png_of_16_bits(samples)] + [tiff(samples, order=order) for order in "<>" if n == 4]
    for content in contents:
        found = decode_image(written(tmp_path, content), None)
        assert (found[:4] == 255).all()
        assert np.abs(found[4:] - stretched(colours)[4:]).max() <= 1


def stretched(samples):
    low, high = np.percentile(samples, (0.1, 99.9))
    return np.clip((samples - low) * 255 / (high - low), 0, 255)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("compressed", [False, True])
def test_white_may_be_zero(tmp_path, dtype, compressed):
    ramp = np.arange(256).reshape(16, 16).astype(dtype)
    path = written(tmp_path, tiff(ramp, [(262, 3, 1, 0)], compressed=compressed))
    assert np.abs(decode_image(path, None)[..., 0] - (255.0 - ramp)).max() <= 1


@pytest.mark.parametrize(
    ("dtype", "value", "no_data"),
    [
        ("f4", -3.4028235e38, ""),
        ("f4", 3.4e38, ""),
        ("f4", -9999, "-9999"),
        ("f4", np.nan, "nan"),
        ("i2", -9999, "-9999 "),
        ("u2", 65535, "65535"),
        ("u2", 0, "0"),
    ],
)
def test_pixels_without_data_are_black_and_left_out_of_the_range(tmp_path, dtype, value, no_data):
    samples = photo(0)[..., 0].astype(dtype) + 100
    expected = stretched(samples)
    samples[:3, :3] = value
    found = decode_image(written(tmp_path, tiff(samples, no_data=no_data)), None)[..., 0]
    assert (found[:3, :3] == 0).all()
    assert np.abs(found.astype(int) - expected)[3:].max() <= 2
    samples[:] = value
    reason = why_not(tmp_path, tiff(samples, no_data=no_data))
    assert reason == "holds no data: every value stands for none"


@pytest.mark.parametrize(
    ("samples", "options", "reason"),
    [
        (np.ones((8, 8)), {}, "64-bit floating samples, 1 a pixel"),
        (np.ones((8, 8), "f2"), {}, "16-bit floating samples, 1 a pixel"),
        (np.ones((8, 8, 3), "f4"), {}, "32-bit floating samples, 3 a pixel"),
        (np.ones((8, 8, 5), "u1"), {}, "8-bit unsigned samples, 5 a pixel"),
        (np.ones((8, 8, 5), "u2"), {}, "16-bit unsigned samples, 5 a pixel"),
        (np.ones((8, 8, 3), "i1"), {}, "8-bit signed samples, 3 a pixel"),
        *(
            (
                np.ones((8, 8, n), "u2"),
                {"planes": True, "compressed": compressed},
                f"16-bit unsigned samples, {n} a pixel in separate planes",
            )
            for n, compressed in ((2, False), (2, True), (3, True), (4, False), (4, True))
        ),
    ],
)
def test_a_tiff_of_a_kind_that_is_not_read_is_named(tmp_path, samples, options, reason):
    assert why_not(tmp_path, tiff(samples, **options)) == f"a TIFF of {reason}, is not read"


def test_a_jpeg_of_12_bits_is_named(tmp_path):
    whole = saved(tmp_path / "a.jpg", Image.fromarray(photo(0))).read_bytes()
    at = whole.index(b"\xff\xc0") + 4
    assert why_not(tmp_path, whole[:at] + b"\x0c" + whole[at + 1 :]) == (
        "a JPEG that cannot be read (cannot handle 12-bit layers)"
    )


@pytest.mark.parametrize("n_clear", [64, 63])
def test_a_bitmap_that_is_clear_everywhere_has_no_alpha(tmp_path, n_clear):
    pixels = np.full((8, 8, 4), (30, 60, 90, 255), np.uint8)  # blue, green, red, alpha
    pixels.reshape(-1, 4)[:n_clear, 3] = 0
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, 8, 8, 1, 32, 3, 256, 0, 0, 0, 0) + masks
    content = b"BM" + struct.pack("<IHHI", 378, 0, 0, 122) + info.ljust(108, b"\0")
    found = decode_image(written(tmp_path, content + pixels.tobytes()), None)
    assert found[0, 0].tolist() == ([90, 60, 30] if n_clear == 64 else [255, 255, 255])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("size_px", [None, 16])
def test_a_jpeg_may_lack_its_end_marker_alone(tmp_path, options, size_px):
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(photo(0, 90, 120)), **options)
    content, expected = whole.read_bytes(), decode_image(whole, size_px)
    for n_missing in (1, 2):
        path = written(tmp_path, content[:-n_missing])
        assert np.array_equal(decode_image(path, size_px), expected)
        assert original_digest(path) == original_digest(whole)
    for n_missing in (40, len(content) // 3):
        assert "truncated" in why_not(tmp_path, content[:-n_missing])


def test_cmyk_becomes_the_colour_it_prints(tmp_path):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        found = decode_image(saved(tmp_path / name, cyan), None)[8, 8]
        assert np.abs(found.astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert np.abs(decode_image(path, None)[4, 4].astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (41, 100), (8, 12), (16, 16)])
def test_the_centre_is_resized_with_antialiasing(tmp_path, shape):
    """Beside the literal way: resize the shorter side, then cut the centre out."""
    pixels = photo(3, *shape)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    scale = 16 / min(shape)
    size = [max(16, round(side * scale)) for side in shape[::-1]]
    literal = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), int)
    top, left = ((side - 16) // 2 for side in literal.shape[:2])
    difference = np.abs(decode_image(path, 16) - literal[top : top + 16, left : left + 16])
    assert difference.mean() < 6  # a shift by half a pixel where the margin is odd
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    fine = decode_image(saved(tmp_path / "b.png", Image.fromarray(noise)), 16)
    assert fine.std() < 10  # 1,024 pixels averaged in each; picking single ones gives 74


def test_a_large_jpeg_is_like_the_slow_way(tmp_path):
    pixels = photo(4, 1201, 1607)
    path = saved(tmp_path / "a.jpg", Image.fromarray(pixels), quality=95)
    slow = Image.fromarray(pixels[:, 203:1404]).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(decode_image(path, 64) - np.asarray(slow, int)).max() <= 6


def test_a_thin_image_costs_no_memory(tmp_path):
    # Resized before it is cut, it would have 64 x 3,840,000 pixels.
    path = saved(tmp_path / "a.png", Image.new("RGB", (60_000, 1), "red"))
    assert (decode_image(path, 64) == [255, 0, 0]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_claim_of_many_pixels_is_refused_before_decoding(tmp_path):
    """A real file of a few kilobytes whose pixels would take 1.2 GB."""
    side = int((1.5 * MAX_PIXELS) ** 0.5)
    bomb = saved(tmp_path / "a.png", Image.new("1", (side, side)))
    assert bomb.stat().st_size < 10**6
    # Not ru_maxrss, which a process inherits from the one that started it.
    code = (
        "import re, sys, pathlib\n"
        "from zeroshot_al.sources.decode import RejectedError, decode_image\n"
        "try: decode_image(sys.argv[1], 64)\n"
        "except RejectedError as error: print(error)\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, bomb],
        env={"PYTHONPATH": str(SRC)},
        check=True,
        capture_output=True,
        text=True,
    )
    told, peak_kib = done.stdout.splitlines()
    assert told == f"the header claims {side} x {side} pixels, more than 200,000,000 in all"
    assert int(peak_kib) < 200_000


def test_an_image_below_the_limit_but_over_pillows_is_read(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    assert limit * 2 < 14_000 * 14_000 < MAX_PIXELS
    path = saved(tmp_path / "a.png", Image.new("1", (14_000, 14_000), 1))
    assert (decode_image(path, 8) == 255).all()
    assert limit == Image.MAX_IMAGE_PIXELS


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
                assert decode_image(path, 16).shape == (16, 16, 3)
            except RejectedError as error:
                assert str(error)
                n_rejected += 1
    assert n_rejected > 30


# ---------------------------------------------------------------------------- made to do harm


def with_chunk(whole, name, data):
    """Put a chunk behind a PNG's header."""
    return whole[:33] + png_chunk(name, data) + whole[33:]


@pytest.mark.parametrize(
    ("name", "start"), [(b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0"), (b"iCCP", b"x\0\0")]
)
def test_packed_text_and_profiles_do_not_unfold(tmp_path, name, start):
    """256 MiB in 256 KiB, ten times: at most a mebibyte of each is unpacked."""
    whole = saved(tmp_path / "a.png", Image.fromarray(photo(6))).read_bytes()
    bomb = start + zlib.compress(bytes(2**28), 9)
    for _ in range(10):
        whole = with_chunk(whole, name, bomb)
    (tmp_path / "a.png").write_bytes(whole)
    start_s = time.process_time()
    try:
        assert np.array_equal(decode_image(tmp_path / "a.png", None), photo(6))
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
        assert decode_image(path, 8).shape == (8, 8, 3)
        assert upright_size_px(path) == (8, 8)
    except RejectedError as error:
        assert change
        assert str(error)


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (3, 1, 0),
        (3, 1, 9),
        (3, 1, 65535),
        (3, 0, 6),
        (2, 4, 0x36363636),
        (7, 1, 6),
        (8, 1, 0xFFFF),
        (11, 1, 0x40C80000),
        (12, 1, 2**32 - 1),
        (99, 1, 6),
    ],
)
def test_an_orientation_that_is_none_turns_nothing(tmp_path, kind, count, value):
    pixels = photo(9, 12, 20)
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, kind, count, value) + bytes(4)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels), exif=exif)
    assert np.array_equal(decode_image(path, None), pixels)
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
            decode_image(tmp_path / name, 8)
