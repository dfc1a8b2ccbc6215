"""Images in the user's class folders: what is read, and what is told when something is wrong."""

import os

import numpy as np
import pytest
from PIL import Image

from hostile import png_header
from zeroshot_al.errors import InputError
from zeroshot_al.sources import DataParams, load_source

CLASSES = ("ant", "bee", "Wespe ü")


@pytest.fixture
def folder(tmp_path):
    """Class folders with 3 train and 2 test images a class, in several formats and modes."""
    rng = np.random.default_rng(5)
    root = tmp_path / "photos"
    for split, n_images in (("train", 3), ("test", 2)):
        for label in CLASSES:
            (root / split / label).mkdir(parents=True)
            for i in range(n_images):
                image = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                image = image.convert(("RGB", "L", "RGBA")[i])
                image.save(root / split / label / f"{i}.{('png', 'jpg', 'webp')[i]}")
    return root


def read_folder(root):
    return load_source(DataParams("class_folders", str(root)), "unused", "unused")


def refusal(root):
    with pytest.raises(InputError) as error:
        read_folder(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folder_ids_are_paths_that_lead_to_the_pixels(folder):
    (folder / "train" / "ant" / ".DS_Store").write_bytes(b"hidden files are no images")
    pool = read_folder(folder)
    assert pool.images.shape == (15, 6, 8, 3)
    assert (pool.n_train, pool.classes) == (9, tuple(sorted(CLASSES)))
    for image, name, split, label in zip(
        pool.images, pool.ids, pool.splits, pool.labels, strict=True
    ):
        assert name.startswith(f"{split}/{label}/")
        with Image.open(folder / name) as file:
            assert np.array_equal(image, np.asarray(file.convert("RGB")))


def test_folder_order_ignores_names_and_classes(folder):
    before = read_folder(folder)
    swapped = folder.rename(folder.with_name("swapped"))
    for split in ("train", "test"):  # every image changes its class and its path
        (swapped / split / "ant").rename(swapped / split / "x")
        (swapped / split / "bee").rename(swapped / split / "ant")
        (swapped / split / "x").rename(swapped / split / "bee")
    assert np.array_equal(read_folder(swapped).images, before.images)


def test_large_images_decoded_by_threads_are_the_same(tmp_path):
    rng = np.random.default_rng(5)
    expected = {}
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        for i in range(300):  # more than one block
            pixels = np.repeat(rng.integers(0, 256, (1, 64, 3), dtype=np.uint8), 48, axis=0)
            Image.fromarray(pixels).save(tmp_path / split / "cat" / f"{i}.png")
            expected[f"{split}/cat/{i}.png"] = pixels
    pool = read_folder(tmp_path)
    assert len(pool.ids) == 600
    for name, image in zip(pool.ids, pool.images, strict=True):
        assert np.array_equal(image, expected[name])


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_a_broken_image_is_told_by_name(folder, damage):
    path = folder / "test" / "bee" / "0.png"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes({
        "truncated": whole[:middle],
        "empty": b"",
        "text": b"this is no image",
        "flipped": whole[:middle] + bytes(255 - byte for byte in whole[middle:]),
    }[damage])  # fmt: skip
    told = refusal(folder)
    assert f"{path} cannot be read as an image (" in told
    assert told.endswith("; replace or remove it")


def test_the_first_file_broken_is_told_too(folder):
    (folder / "train" / CLASSES[2] / "0.png").write_bytes(b"")
    (folder / "train" / "ant" / "0.png").write_bytes(b"x")
    assert "cannot be read as an image (not a JPEG, PNG, WebP, BMP, TIFF or GIF" in refusal(folder)


def test_another_size_is_told_with_both_files(folder):
    Image.new("RGB", (7, 6)).save(folder / "train" / "bee" / "1.jpg")
    told = refusal(folder)
    assert "bee/1.jpg has 7 x 6 pixels but" in told
    assert "0.png has 8 x 6; resize the images to one size" in told


def test_sixteen_bits_are_told_instead_of_clipped(folder):
    Image.fromarray(np.full((6, 8), 40_000, np.uint16)).save(folder / "train" / "bee" / "0.png")
    assert "0.png has more than 8 bits a channel; convert it to 8 bits" in refusal(folder)


def remove(path):
    for entry in path.iterdir():
        remove(entry) if entry.is_dir() else entry.unlink()
    path.rmdir()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: remove(root), "photos is not a folder"),
        (lambda root: remove(root / "train"), "photos has no folder 'train'"),
        (lambda root: remove(root / "test"), "photos has no folder 'test'"),
        (lambda root: (remove(root / "test"), (root / "test").mkdir()), "has no class folder"),
        (lambda root: remove(root / "test" / "bee"), "the class 'bee' is in"),
        (lambda root: (root / "test" / "cow").mkdir(), "the class 'cow' is in"),
        (
            lambda root: [path.unlink() for path in (root / "train" / "bee").iterdir()],
            "train/bee is empty; add images or remove it",
        ),
        (lambda root: (root / "train" / "bee" / "more").mkdir(), "bee/more is a folder"),
        (lambda root: (root / "train" / "a.png").touch(), "a.png lies outside of the class"),
    ],
)
def test_a_layout_that_is_not_due_is_told(folder, change, told):
    change(folder)
    assert told in refusal(folder)


def test_links_within_the_folder_are_read_and_others_refused(folder):
    (folder / "train" / "ant" / "again.png").symlink_to("0.png")
    assert len(read_folder(folder).ids) == 16
    outside = folder.parent / "outside"
    outside.mkdir()
    Image.new("RGB", (8, 6)).save(outside / "a.png")
    for place, target in (
        ("train/ant/out.png", outside / "a.png"), ("train/ant/up.png", "../../../outside/a.png"),
        ("train/ant/passwd", "/etc/passwd"), ("train/cow", outside), ("train", outside),
    ):  # fmt: skip
        if place == "train":
            (folder / "train").rename(outside / "train")
        (folder / place).symlink_to(target)
        told = refusal(folder)
        assert f"{folder / place} is a link that leads out of {folder}; remove it" in told
        (folder / place).unlink()


@pytest.mark.parametrize("first", [True, False])
def test_a_pipe_is_not_waited_for(folder, first):
    os.mkfifo(folder / "train" / CLASSES[2] / ("-.png" if first else "z.png"))
    assert "cannot be read as an image (not a regular file)" in refusal(folder)


def test_a_link_in_a_circle_is_told(folder):
    (folder / "test" / "ant" / "z.png").symlink_to("z.png")
    assert "z.png is a link that leads nowhere; remove it" in refusal(folder)


def test_no_program_is_run_for_an_image(folder):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\nshowpage\n"
    (folder / "train" / "ant" / "0.png").write_bytes(script)
    told = refusal(folder)
    assert "0.png cannot be read as an image (not a JPEG, PNG, WebP, BMP, TIFF or GIF" in told


def test_a_bomb_is_told_before_it_costs(folder):
    for path in (folder / "train" / CLASSES[2] / "0.png", folder / "train" / "ant" / "0.png"):
        before = path.read_bytes()
        path.write_bytes(png_header(60_000, 60_000))
        assert "could be decompression bomb DOS attack" in refusal(folder)
        path.write_bytes(before)
