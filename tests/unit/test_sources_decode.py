"""One file to pixels: what each kind of image becomes, and what is refused before it costs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo
from zeroshot_al.sources.decode import MAX_PIXELS, RejectedError, decode_image

SRC = Path(__file__).parents[2] / "src"


def saved(path, image, **options):
    image.save(path, **options)
    return path


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
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
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


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    found = decode_image(saved(tmp_path / f"a.{suffix}", Image.fromarray(ramp)), None)
    assert np.array_equal(found[..., 0], np.arange(256).reshape(16, 16))
    assert (found == found[..., :1]).all()


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e6, -3e5)])
def test_floats_of_any_range_are_scaled(tmp_path, scale, offset):
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16) * scale + offset
    path = saved(tmp_path / "a.tif", Image.fromarray(ramp.astype(np.float32)))
    difference = decode_image(path, None)[..., 0] - np.arange(256.0).reshape(16, 16)
    assert np.abs(difference).max() <= 1


def test_a_dim_float_image_stays_dim_and_a_flat_one_is_black(tmp_path):
    dim = Image.fromarray(np.full((4, 4), 0.2, np.float32))
    assert (decode_image(saved(tmp_path / "a.tif", dim), None) == 51).all()
    flat = Image.fromarray(np.full((4, 4), 7.5, np.float32))
    assert (decode_image(saved(tmp_path / "b.tif", flat), None) == 0).all()


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
        [sys.executable, "-c", code, bomb], env={"PYTHONPATH": str(SRC)}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    told, peak_kib = done.stdout.splitlines()
    assert told == f"the header claims {side} x {side} pixels, more than 200,000,000 in all"
    assert int(peak_kib) < 200_000


def test_an_image_below_the_limit_but_over_pillows_is_read(tmp_path):
    assert Image.MAX_IMAGE_PIXELS * 2 < 14_000 * 14_000 < MAX_PIXELS
    path = saved(tmp_path / "a.png", Image.new("1", (14_000, 14_000), 1))
    limit = Image.MAX_IMAGE_PIXELS
    assert (decode_image(path, 8) == 255).all()
    assert limit == Image.MAX_IMAGE_PIXELS


def test_other_formats_are_not_tried(tmp_path):
    for suffix in ("ppm", "eps", "ico", "pcx"):
        path = saved(tmp_path / f"a.{suffix}", Image.fromarray(photo(0)))
        with pytest.raises(RejectedError, match="not a JPEG, PNG, WebP, BMP, TIFF or GIF image"):
            decode_image(path.rename(tmp_path / "a.png"), 16)


def test_a_folder_and_a_missing_file_are_told(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    for name in ("x.jpg", "y.jpg"):
        with pytest.raises(RejectedError, match=r"not a regular file|cannot be opened \("):
            decode_image(tmp_path / name, 16)


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
