"""Samples of more than 8 bits: which range they are seen in, and which kinds are refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from hostile import photo, png_chunk
from tiffs import tiff
from unit.test_sources_decode import saved, why_not, written
from zeroshot_al.sources.decode import decode


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
    found = decode(written(tmp_path, content), None).pixels
    expected = (ramp.astype(float) - low) * 255 / (float(high) - low)
    assert np.abs(found[..., 0] - expected).max() <= 1
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_few_hot_pixels_do_not_hide_the_rest(tmp_path, suffix):
    dim = photo(0, 96, 96)[..., 0].astype(np.uint16)
    hot = dim.copy()
    hot[5, [3, 30, 70]] = 65535
    found = decode(saved(tmp_path / f"a.{suffix}", Image.fromarray(hot)), None).pixels
    assert found[..., 0].std() > 0.9 * dim.std()


def test_a_nearly_flat_image_shows_what_is_not_flat(tmp_path):
    for value in (0.2, 7.5):
        flat = np.full((64, 64), value, np.float32)
        assert (decode(saved(tmp_path / "a.tif", Image.fromarray(flat)), None).pixels == 0).all()
        flat[9, 9] += 0.1
        found = decode(saved(tmp_path / "a.tif", Image.fromarray(flat)), None).pixels
        assert found[9, 9].tolist() == [255, 255, 255]
        assert found.sum() == 3 * 255


def test_a_large_image_s_range_is_told_by_a_part_of_it(tmp_path):
    ramp = np.repeat(np.linspace(100, 4000, 1500).astype(np.uint16)[None], 1500, axis=0)
    found = decode(saved(tmp_path / "a.png", Image.fromarray(ramp)), None).pixels
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
    found = decode(written(tmp_path, content), None).pixels
    assert np.abs(found - stretched(DIM_COLOURS[..., :3])).max() <= 1


@pytest.mark.parametrize("n", [2, 4])
def test_alpha_of_16_bits_lies_on_white(tmp_path, n):
    samples = DIM_COLOURS[..., -n:].copy()
    samples[..., -1] = 65535
    samples[:4, :, -1] = 0
    colours = np.broadcast_to(samples[..., :-1], (*samples.shape[:2], 3))
    contents = [png_of_16_bits(samples)] + [tiff(samples, order=order) for order in "<>" if n == 4]
    for content in contents:
        found = decode(written(tmp_path, content), None).pixels
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
    assert np.abs(decode(path, None).pixels[..., 0] - (255.0 - ramp)).max() <= 1


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
    found = decode(written(tmp_path, tiff(samples, no_data=no_data)), None).pixels[..., 0]
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
