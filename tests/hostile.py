"""A folder of hostile image files, with what ought to become of each."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tiffs import tiff

SIDE = 24
BOMB = "the header claims 100000 x 100000 pixels, more than 200,000,000 in all"
OUT, NOWHERE = "a link that leads out of the folder", "a link that leads nowhere"
FOLDER = "a link to a folder, which is read where it lies"
NO_IMAGE, BROKEN = "not a JPEG, PNG, WebP, BMP, TIFF or GIF image", "damaged or truncated ("
NOT_UTF8 = "its name is not valid UTF-8"


def photo(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Smooth, colourful pixels that no two seeds share, (height, width, 3), uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def make_hostile_folder(root: Path) -> tuple[set[str], dict[str, str], dict[str, str]]:
    """Fill `root`; return the ids to keep, the reason's beginning by rejected id, copies by id."""
    root.mkdir()
    kept, rejected, copies = set(), {}, {}
    seeds = iter(range(10_000))

    def image(mode: str = "RGB") -> Image.Image:
        return Image.fromarray(photo(next(seeds))).convert(mode)

    def keep(name: str, picture: Image.Image, **options) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, **options)
        kept.add(name)
        return path

    def reject(name: str, content: bytes, reason: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        rejected[name] = reason

    # Formats, modes and depths.
    for name, mode in {
        "rgb.png": "RGB",
        "gray.png": "L",
        "bilevel.png": "1",
        "palette.png": "P",
        "alpha.png": "RGBA",
        "gray alpha.png": "LA",
        "photo.jpg": "RGB",
        "gray.jpg": "L",
        "cmyk.jpg": "CMYK",
        "cmyk.tif": "CMYK",
        "lab.tif": "LAB",
        "ycbcr.tiff": "YCbCr",
        "photo.webp": "RGB",
        "alpha.webp": "RGBA",
        "photo.bmp": "RGB",
        "palette.bmp": "P",
        "photo.gif": "P",
        "photo.tiff": "RGB",
        "UPPER.JPG": "RGB",
        "Mixed.Png": "RGB",
        "short.jpe": "RGB",
    }.items():
        keep(name, image(mode), **({"format": "JPEG"} if name.endswith("jpe") else {}))
    keep("transparent palette.png", image("P"), transparency=3)
    keep("transparent rgb.png", image(), transparency=(1, 2, 3))
    wide = photo(next(seeds))[..., 0].astype(np.uint16) * 257
    keep("16 bit.png", Image.fromarray(wide))
    keep("16 bit.tif", Image.fromarray(wide.T.copy()))
    keep("float.tif", Image.fromarray(photo(next(seeds))[..., 1].astype(np.float32) / 255))
    keep("float wide.tif", Image.fromarray(photo(next(seeds))[..., 1].astype(np.float32) * 1e6))
    keep("32 bit.tif", Image.fromarray(photo(next(seeds))[..., 1].astype(np.int32) * 70_000))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        keep(f"exif/{orientation}.jpg", image(), exif=exif)
    keep("broken exif.jpg", image(), exif=b"Exif\0\0not a TIFF header at all")
    # Animated: the first frame counts.
    for name in ("animated.gif", "animated.webp", "animated.png"):
        keep(name, image(), save_all=True, append_images=[image(), image()], duration=50)
    # Sizes.
    keep("1x1.png", Image.new("RGB", (1, 1), (200, 10, 60)))
    keep("1x5000.png", Image.fromarray(photo(next(seeds), 5000, 1)))
    keep("5000x2.jpg", Image.fromarray(photo(next(seeds), 2, 5000)))
    keep("large.jpg", Image.fromarray(photo(next(seeds), 1500, 2000)))
    # Names and nesting.
    for name in (
        "Ünïcödé 写真.png",
        "emoji 🦆.jpg",
        "new\nline.png",
        "comma,s.png",
        'quo"te.png',
        "=1+1.png",
        "-rf.png",
        "a/b/c/d/e/f/deep.png",
        "two  spaces .png",
        "%41.png",
        "x\r.png",
        "cafe\u0301.png",
        "caf\u00e9.png",
        "no image in its name.png/inside.jpg",
        "line\u2028separator.png",
    ):
        keep(name, image())
    keep("png named.jpg", image(), format="PNG")
    keep("jpeg named.png", image(), format="JPEG")

    # Broken files.
    png, jpeg = (keep(f"whole{suffix}", image()).read_bytes() for suffix in (".png", ".jpg"))
    reject("empty.jpg", b"", "the file is empty")
    reject("text.jpg", b"this is no image", NO_IMAGE)
    reject("short.png", b"hi", NO_IMAGE)
    reject("page.png", b"<html>404</html>", NO_IMAGE)
    reject("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", NO_IMAGE)
    reject("zeros.png", bytes(4096), NO_IMAGE)
    reject("cut.png", png[: len(png) // 2], BROKEN)
    reject("cut.jpg", jpeg[: len(jpeg) * 3 // 4], BROKEN)
    reject("head.jpg", jpeg[:20], "a JPEG that cannot be read (")
    reject("flipped.png", png[:60] + bytes(255 - b for b in png[60:]), BROKEN)
    for suffix in (".bmp", ".tif", ".gif", ".webp"):
        whole = keep(f"whole{suffix}", image()).read_bytes()
        reject(f"cut{suffix}", whole[: len(whole) * 3 // 5], BROKEN)
    values = np.full((4, 4), 0.5, np.float32)
    values[1, 2] = np.nan
    Image.fromarray(values).save(root / "nan.tif")
    rejected["nan.tif"] = "holds NaN or infinite values"

    # Bombs: headers that claim 100,000 x 100,000 pixels, or what their format can claim at most.
    reject("bomb.png", png_header(100_000, 100_000), BOMB)
    reject("bomb.bmp", _bmp_header(100_000, 100_000), BOMB)
    bomb = [(tag, 4, 1, 100_000) for tag in (256, 257)]
    reject("bomb.tif", tiff(np.zeros((1, 1), np.uint8), bomb), BOMB)
    reject("bomb.gif", _gif_header(65_535, 65_535), "the header claims 65535 x 65535 pixels")
    reject("bomb.jpg", _jpeg_of(jpeg, 65_500, 65_500), "the header claims 65500 x 65500 pixels")
    reject("bomb.webp", _webp_header(16_383, 16_383), "the header claims 16383 x 16383 pixels")

    # Exact copies: of a file, of pixels in another format, through a link.
    original = keep("copy/a.png", image())
    (root / "copy/b.png").write_bytes(original.read_bytes())
    Image.open(original).save(root / "copy/c.bmp")
    (root / "copy/link.png").symlink_to(original)
    copies |= dict.fromkeys(("copy/b.png", "copy/c.bmp", "copy/link.png"), "copy/a.png")
    # Links: to a folder inside, in a loop, to nowhere, out of the folder.
    (root / "copy/up").symlink_to(root)
    (root / "linked folder").symlink_to("exif", target_is_directory=True)
    (root / ".store").mkdir()
    image().save(root / ".store/held.png")
    (root / "held").symlink_to(".store", target_is_directory=True)
    rejected |= dict.fromkeys(("copy/up", "linked folder", "held"), FOLDER)
    outside = root.parent / "outside"
    outside.mkdir()
    image().save(outside / "secret.png")
    for name, target, reason in (
        ("out.png", outside / "secret.png", OUT),
        ("out folder", outside, OUT),
        ("out by dots.png", "../outside/secret.png", OUT),
        ("passwd.jpg", "/etc/passwd", OUT),
        ("nowhere.png", "missing.png", NOWHERE),
        ("loop.png", "loop.png", NOWHERE),
    ):
        (root / name).symlink_to(target)
        rejected[name] = reason
    # No files at all, or not readable by name.
    os.mkfifo(root / "pipe.jpg")
    rejected["pipe.jpg"] = "not a regular file"
    with open(os.fsencode(root) + b"/latin\xfc.png", "wb") as file:
        file.write(png)
    rejected["latin\\xfc.png"] = NOT_UTF8
    os.mkdir(os.fsencode(root) + b"/folder\xff")  # noqa: PTH102
    rejected["folder\\xff"] = NOT_UTF8
    if os.geteuid() != 0:
        reject("locked.png", png, "cannot be opened (Permission denied)")
        (root / "locked.png").chmod(0)
    # Passed over: hidden, left by file managers, not named as an image.
    (root / ".DS_Store").write_bytes(b"x")
    (root / "._rgb.png").write_bytes(b"x")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / "notes.txt").write_text("nothing")
    (root / "raw.heic").write_bytes(b"x")
    (root / "README").write_text("nothing")
    return kept, rejected, copies


def png_chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(10_000))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data)


def _bmp_header(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + bytes(100)


def _gif_header(width: int, height: int) -> bytes:
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + frame


def _jpeg_of(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5  # marker, length, precision
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def _webp_header(width: int, height: int) -> bytes:
    bits = struct.pack("<I", (width - 1) | (height - 1) << 14)
    data = b"\x2f" + bits + bytes(40)
    chunk = b"VP8L" + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
