"""Images in the user's class folders: what is read, and what is told when something is wrong."""

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo, png_header
from refusals import refusal
from zeroshot_al.base.files import read_csv
from zeroshot_al.sources.decode import decode_image
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams

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


def read_folder(root, size_px=None):
    # A place of its own, because an earlier pool maps its file still.
    directory = tempfile.mkdtemp(dir=root.parent)
    return load_source(DataParams("class_folders", str(root), size_px), "unused", directory)


def rejected_of(pool):
    rows = read_csv(Path(pool.images.filename).with_name("rejected.csv"), ["id", "reason"])
    return {row["id"]: row["reason"] for row in rows}


def test_folder_ids_are_paths_that_lead_to_the_pixels(folder):
    (folder / "train" / "ant" / ".DS_Store").write_bytes(b"hidden files are no images")
    (folder / "train" / "Thumbs.db").write_bytes(b"nor are those of file managers")
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


def test_the_pool_is_a_map_of_its_file_beside_the_rejected_ones(folder):
    pool = read_folder(folder)
    assert isinstance(pool.images, np.memmap)
    assert not pool.images.flags.writeable
    directory = Path(pool.images.filename).parent
    assert sorted(path.name for path in directory.iterdir()) == ["images.npy", "rejected.csv"]
    assert np.array_equal(np.load(directory / "images.npy", allow_pickle=False), pool.images)
    assert rejected_of(pool) == {}


def test_the_order_is_that_of_hashes_and_equal_images_stay(folder):
    # Also names that sort otherwise than the folders that they lie in.
    for name in ("train/ant/z.png", "train/Wespe ü/0 again.png", "test/bee/again.png"):
        (folder / name).write_bytes((folder / "train/Wespe ü/0.png").read_bytes())
    for split in ("train", "test"):
        (folder / split / "ant 2").mkdir()
        (folder / split / "ant 2/0.png").write_bytes((folder / "train/ant/0.png").read_bytes())
    pool = read_folder(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*/*")]
    assert len(names) == 20

    def key(name):
        pixels = decode_image(folder / name, None)
        return name.startswith("test"), hashlib.sha256(pixels).hexdigest(), name

    assert list(pool.ids) == sorted(names, key=key)
    assert [(split, label) for split, label in zip(pool.splits, pool.labels, strict=True)] == [
        tuple(name.split("/")[:2]) for name in pool.ids
    ]
    for image, name in zip(pool.images, pool.ids, strict=True):
        assert np.array_equal(image, decode_image(folder / name, None))


def test_more_than_a_block_of_images_is_the_same(tmp_path):
    rng = np.random.default_rng(5)
    root, expected = tmp_path / "photos", {}
    for split in ("train", "test"):
        (root / split / "cat").mkdir(parents=True)
        for i in range(300):
            pixels = np.repeat(rng.integers(0, 256, (1, 64, 3), dtype=np.uint8), 48, axis=0)
            Image.fromarray(pixels).save(root / split / "cat" / f"{i}.png")
            expected[f"{split}/cat/{i}.png"] = pixels
    pool = read_folder(root)
    assert len(pool.ids) == 600
    for name, image in zip(pool.ids, pool.images, strict=True):
        assert np.array_equal(image, expected[name])


def test_images_of_any_size_and_kind_come_at_the_working_resolution(folder):
    upright = Image.fromarray(photo(1, 90, 40))
    exif = Image.Exif()
    exif[274] = 6  # orientation: on its side
    upright.save(folder / "train/ant/turned.jpg", exif=exif)
    Image.fromarray(photo(2, 300, 17)).save(folder / "train/bee/large.png")
    Image.new("RGBA", (50, 50), (9, 9, 9, 0)).save(folder / "test/ant/clear.png")
    wide = photo(3, 20, 30)[..., 0].astype(np.uint16) * 257
    Image.fromarray(wide).save(folder / "test/bee/16 bit.png")
    pool = read_folder(folder, 16)
    assert pool.images.shape == (19, 16, 16, 3)
    for image, name in zip(pool.images, pool.ids, strict=True):
        assert np.array_equal(image, decode_image(folder / name, 16))
    assert (pool.images[pool.ids.index("test/ant/clear.png")] == 255).all()


def test_another_size_is_told_with_both_files(folder):
    path = folder / "train" / "bee" / "1.jpg"
    Image.new("RGB", (7, 6)).save(path)
    assert refusal(read_folder, folder) == (
        f"{path} has 7 x 6 pixels and {folder}/train/Wespe ü/0.png 8 x 6; "
        "give the working resolution data.size_px"
    )
    assert len(read_folder(folder, 4).ids) == 15


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "flipped"])
def test_a_broken_image_is_listed_and_the_others_are_kept(folder, damage, caplog):
    whole_pool = read_folder(folder)
    path = folder / "test" / "bee" / "0.png"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "truncated": whole[:middle],
            "empty": b"",
            "text": b"this is no image",
            "flipped": whole[:middle] + bytes(255 - byte for byte in whole[middle:]),
        }[damage]
    )
    pool = read_folder(folder)
    kept = [i for i, name in enumerate(whole_pool.ids) if name != "test/bee/0.png"]
    assert list(pool.ids) == [whole_pool.ids[i] for i in kept]
    assert np.array_equal(pool.images, whole_pool.images[kept])
    rejected = rejected_of(pool)
    assert list(rejected) == ["test/bee/0.png"]
    assert rejected["test/bee/0.png"]
    assert f"{folder}: 1 files rejected (rejected.csv), the first 'test/bee/0.png': " in caplog.text


def test_broken_files_in_front_do_not_matter(folder):
    (folder / "train" / CLASSES[2] / "0.png").write_bytes(b"")
    (folder / "train" / "ant" / "notes.txt").write_text("no image")
    pool = read_folder(folder)
    assert len(pool.ids) == 14
    assert rejected_of(pool) == {
        f"train/{CLASSES[2]}/0.png": "the file is empty",
        "train/ant/notes.txt": "not a JPEG, PNG, WebP, BMP, TIFF or GIF image",
    }


@pytest.mark.parametrize("size_px", [None, 4])
def test_a_class_that_loses_a_split_is_told(folder, size_px):
    for path in (folder / "test" / "bee").iterdir():
        path.write_bytes(b"")
    (folder / "train" / "ant" / "0.png").write_bytes(b"")
    assert refusal(read_folder, folder, size_px) == (
        f"none of the 2 images in {folder}/test/bee can be read, the first 'test/bee/0.png': "
        "the file is empty; replace them"
    )
    for path in folder.glob("*/*/*"):
        path.write_bytes(b"")
    told = refusal(read_folder, folder, size_px)
    assert told.startswith(f"none of the 15 images in {folder} can be read, the first 'test/Wespe")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_listed_and_a_class_of_such_a_name_refused(folder):
    strange = os.fsencode(folder / "train" / "ant") + b"/\xff.png"
    try:
        Image.new("RGB", (8, 6)).save(os.fsdecode(strange))
    except OSError:
        pytest.skip("this file system has no such names")
    pool = read_folder(folder)
    assert len(pool.ids) == 15
    assert rejected_of(pool) == {r"train/ant/\xff.png": "its name is not valid UTF-8"}
    (folder / "train" / "ant").rename(folder / "train" / os.fsdecode(b"\xff"))
    assert (
        refusal(read_folder, folder)
        == rf"the name of {folder}/train/\xff is not valid UTF-8; rename it"
    )


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
    assert told in refusal(read_folder, folder)


def test_links_within_the_folder_are_read_and_others_refused(folder):
    (folder / "train" / "ant" / "again.png").symlink_to("0.png")
    assert len(read_folder(folder).ids) == 16
    outside = folder.parent / "outside"
    outside.mkdir()
    Image.new("RGB", (8, 6)).save(outside / "a.png")
    for place, target in (
        ("train/ant/out.png", outside / "a.png"),
        ("train/ant/up.png", "../../../outside/a.png"),
        ("train/ant/passwd", "/etc/passwd"),
        ("train/cow", outside),
        ("train", outside),
    ):
        if place == "train":
            (folder / "train").rename(outside / "train")
        (folder / place).symlink_to(target)
        told = refusal(read_folder, folder)
        assert f"{folder / place} is a link that leads out of {folder}; remove it" in told
        (folder / place).unlink()


@pytest.mark.parametrize("first", [True, False])
def test_a_pipe_is_not_waited_for(folder, first):
    name = f"train/{CLASSES[2]}/{'-.png' if first else 'z.png'}"
    os.mkfifo(folder / name)
    assert rejected_of(read_folder(folder)) == {name: "not a regular file"}


def test_a_link_in_a_circle_is_told(folder):
    (folder / "test" / "ant" / "z.png").symlink_to("z.png")
    assert "z.png is a link that leads nowhere; remove it" in refusal(read_folder, folder)


def test_no_program_is_run_for_an_image(folder):
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\nshowpage\n"
    (folder / "train" / "ant" / "0.png").write_bytes(script)
    assert rejected_of(read_folder(folder)) == {
        "train/ant/0.png": "not a JPEG, PNG, WebP, BMP, TIFF or GIF image"
    }


def test_a_bomb_is_told_before_it_costs(folder):
    for name in (f"train/{CLASSES[2]}/0.png", "train/ant/0.png"):
        (folder / name).write_bytes(png_header(60_000, 60_000))
    rejected = rejected_of(read_folder(folder))
    assert len(rejected) == 2
    for reason in rejected.values():
        assert reason.startswith("the header claims 60000 x 60000 pixels, more than 200,000,000")
