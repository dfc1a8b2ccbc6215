"""One file to pixels: what each kind of image becomes, and what is refused before it costs."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo
from zeroshot_al.sources.decode import MAX_PIXELS, RejectedError, decode, original_digest

SRC = Path(__file__).parents[2] / "src"


def saved(path, image, **options):
    image.save(path, **options)
    return path


def written(folder, content):
    (folder / "a").write_bytes(content)
    return folder / "a"


def why_not(folder, content):
    with pytest.raises(RejectedError) as error:
        decode(written(folder, content), None)
    return str(error.value)


def test_eight_bit_rgb_arrives_as_it_is(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(photo(0)))
    assert np.array_equal(decode(path, None).pixels, photo(0))
    assert np.array_equal(decode(path, 24).pixels, photo(0))


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
    expected = decode(saved(tmp_path / "upright.png", Image.fromarray(upright)), size_px).pixels
    found = decode(path, size_px).pixels
    assert found.shape == expected.shape
    # Vertical and horizontal passes of the resizing round in another order when turned.
    assert np.abs(found.astype(int) - expected).max() <= (0 if size_px is None else 2)


def test_alpha_lies_on_white(tmp_path):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3], pixels[:, :, 0] = 255, 200
    found = decode(saved(tmp_path / "a.png", Image.fromarray(pixels)), None).pixels
    assert np.array_equal(found[:4], np.broadcast_to([200, 0, 0], (4, 8, 3)))
    assert (found[4:] == 255).all()
    gray = Image.fromarray(pixels[..., [0, 3]], "LA")
    found = decode(saved(tmp_path / "b.png", gray), None).pixels
    assert (found[:4] == 200).all() and (found[4:] == 255).all()
    palette = Image.fromarray(np.repeat([[0], [1]], 4, axis=1).astype(np.uint8))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    found = decode(saved(tmp_path / "c.png", palette, transparency=1), None).pixels
    assert found[0, 0].tolist() == [10, 20, 30]
    assert found[1, 0].tolist() == [255, 255, 255]


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
    found = decode(written(tmp_path, content + pixels.tobytes()), None).pixels
    assert found[0, 0].tolist() == ([90, 60, 30] if n_clear == 64 else [255, 255, 255])


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("size_px", [None, 16])
def test_a_jpeg_may_lack_its_end_marker_alone(tmp_path, options, size_px):
    whole = saved(tmp_path / "whole.jpg", Image.fromarray(photo(0, 90, 120)), **options)
    content, expected = whole.read_bytes(), decode(whole, size_px).pixels
    for n_missing in (1, 2):
        path = written(tmp_path, content[:-n_missing])
        assert np.array_equal(decode(path, size_px).pixels, expected)
        assert original_digest(path) == original_digest(whole)
    for n_missing in (40, len(content) // 3):
        assert "truncated" in why_not(tmp_path, content[:-n_missing])


def test_cmyk_becomes_the_colour_it_prints(tmp_path):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for name in ("a.tif", "a.jpg"):
        found = decode(saved(tmp_path / name, cyan), None).pixels[8, 8]
        assert np.abs(found.astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_counts(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = saved(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        assert image.n_frames == 3
    assert np.abs(decode(path, None).pixels[4, 4].astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize("shape", [(40, 100), (100, 40), (41, 100), (8, 12), (16, 16)])
def test_the_centre_is_resized_with_antialiasing(tmp_path, shape):
    """Beside the literal way: resize the shorter side, then cut the centre out."""
    pixels = photo(3, *shape)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    scale = 16 / min(shape)
    size = [max(16, round(side * scale)) for side in shape[::-1]]
    literal = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), int)
    top, left = ((side - 16) // 2 for side in literal.shape[:2])
    difference = np.abs(decode(path, 16).pixels - literal[top : top + 16, left : left + 16])
    assert difference.mean() < 6  # a shift by half a pixel where the margin is odd
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    fine = decode(saved(tmp_path / "b.png", Image.fromarray(noise)), 16).pixels
    assert fine.std() < 10  # 1,024 pixels averaged in each; picking single ones gives 74


def test_a_large_jpeg_is_like_the_slow_way(tmp_path):
    pixels = photo(4, 1201, 1607)
    path = saved(tmp_path / "a.jpg", Image.fromarray(pixels), quality=95)
    slow = Image.fromarray(pixels[:, 203:1404]).resize((64, 64), Image.Resampling.BICUBIC)
    assert np.abs(decode(path, 64).pixels - np.asarray(slow, int)).max() <= 6


def test_a_thin_image_costs_no_memory(tmp_path):
    # Resized before it is cut, it would have 64 x 3,840,000 pixels.
    path = saved(tmp_path / "a.png", Image.new("RGB", (60_000, 1), "red"))
    assert (decode(path, 64).pixels == [255, 0, 0]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_claim_of_many_pixels_is_refused_before_decoding(tmp_path):
    """A real file of a few kilobytes whose pixels would take 1.2 GB."""
    side = int((1.5 * MAX_PIXELS) ** 0.5)
    bomb = saved(tmp_path / "a.png", Image.new("1", (side, side)))
    assert bomb.stat().st_size < 10**6
    # Not ru_maxrss, which a process inherits from the one that started it.
    code = (
        "import re, sys, pathlib\n"
        "from zeroshot_al.sources.decode import RejectedError, decode\n"
        "try: decode(sys.argv[1], 64)\n"
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
    assert (decode(path, 8).pixels == 255).all()
    assert limit == Image.MAX_IMAGE_PIXELS
