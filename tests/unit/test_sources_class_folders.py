"""Images in the user's class folders: what is read, and what is refused; files as in a folder."""

import hashlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hostile import photo
from refusals import refusal
from zeroshot_al.base.files import read_csv
from zeroshot_al.sources.decode import decode
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


@pytest.mark.parametrize("size_px", [None, 16])
def test_ids_are_paths_in_the_order_of_hashes_and_equal_images_stay(folder, size_px):
    # Also names that sort otherwise than the folders that they lie in.
    for name in ("train/ant/z.png", "train/Wespe ü/0 again.png", "test/bee/deep/again.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((folder / "train/Wespe ü/0.png").read_bytes())
    for split in ("train", "test"):
        (folder / split / "ant 2").mkdir()
        (folder / split / "ant 2/0.png").write_bytes((folder / "train/ant/0.png").read_bytes())
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")]
    (folder / "train/ant/.DS_Store").write_bytes(b"hidden files are no images")
    (folder / "train/Thumbs.db").write_bytes(b"nor are those of file managers")
    assert len(names) == 20

    def key(name):
        pixels = decode(folder / name, size_px).pixels
        return name.startswith("test"), hashlib.sha256(pixels).hexdigest(), name

    pool = read_folder(folder, size_px)
    assert list(pool.ids) == sorted(names, key=key)
    assert (pool.n_train, pool.classes) == (12, tuple(sorted((*CLASSES, "ant 2"))))
    assert [(split, label) for split, label in zip(pool.splits, pool.labels, strict=True)] == [
        tuple(name.split("/")[:2]) for name in pool.ids
    ]
    for image, name in zip(pool.images, pool.ids, strict=True):
        assert np.array_equal(image, decode(folder / name, size_px).pixels)
    assert isinstance(pool.images, np.memmap)
    assert not pool.images.flags.writeable
    directory = Path(pool.images.filename).parent
    assert sorted(path.name for path in directory.iterdir()) == ["images.npy", "rejected.csv"]
    assert np.array_equal(np.load(directory / "images.npy", allow_pickle=False), pool.images)
    assert rejected_of(pool) == {}


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


def test_another_size_is_told_with_both_files(folder):
    path = folder / "train/bee/1.jpg"
    Image.new("RGB", (7, 6)).save(path)
    assert refusal(read_folder, folder) == (
        f"{path} has 7 x 6 pixels and {folder}/test/Wespe ü/0.png 8 x 6; "
        "give the working resolution data.size_px"
    )
    assert len(read_folder(folder, 4).ids) == 15


def test_what_is_no_image_of_a_class_is_listed_and_the_others_are_kept(folder, caplog):
    before = read_folder(folder)
    (folder / "test/Wespe ü/0.png").write_bytes(b"")  # the first
    (folder / "test/bee/0.png").write_bytes(b"this is no image")
    (folder / "train/ant/notes.txt").write_text("skipped, as in any folder")
    Image.new("RGB", (8, 6)).save(folder / "train/stray.png")
    (folder.parent / "outside").mkdir()
    Image.fromarray(photo(1, 6, 8)).save(folder.parent / "outside/a.png")
    (folder / "train/ant/out.png").symlink_to("../../../outside/a.png")
    (folder / "train/cow").symlink_to("../../outside")
    pool = read_folder(folder)
    assert rejected_of(pool) == {
        "test/Wespe ü/0.png": "the file is empty",
        "test/bee/0.png": "not a JPEG, PNG, WebP, BMP, TIFF or GIF image",
        "train/ant/out.png": "a link that leads out of the folder",
        "train/cow": "a link that leads out of the folder",
        "train/stray.png": "outside of train/<class>/ and test/<class>/",
    }
    kept = [i for i, name in enumerate(before.ids) if name not in rejected_of(pool)]
    assert list(pool.ids) == [before.ids[i] for i in kept]
    assert np.array_equal(pool.images, before.images[kept])
    assert (
        f"{folder}: 5 files rejected (rejected.csv), the first 'test/Wespe ü/0.png': the file is"
        in caplog.text
    )


@pytest.mark.parametrize("size_px", [None, 4])
def test_a_class_without_a_good_image_is_refused(folder, size_px):
    for name in ("test/bee/0.png", "test/bee/1.jpg", "train/ant/0.png"):
        (folder / name).write_bytes(b"")
    assert refusal(read_folder, folder, size_px) == (
        f"none of the 2 images in {folder}/test/bee can be read, the first 'test/bee/0.png': "
        "the file is empty; replace them"
    )
    for path in folder.glob("*/*/*"):
        path.write_bytes(b"")
    told = refusal(read_folder, folder, size_px)
    assert told.startswith(f"none of the 15 images in {folder} can be read, the first 'test/Wespe")


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("", "photos is not a folder"),
        ("train", "train/Wespe ü holds no image; each class needs some there"),
        ("test", "test/Wespe ü holds no image; each class needs some there"),
        ("test/bee", "test/bee holds no image; each class needs some there"),
        ("train test", "holds no image in train/<class>/ and test/<class>/; add some"),
    ],
)
def test_a_class_that_is_in_one_split_alone_is_refused(folder, gone, told):
    for name in gone.split() or ["."]:
        shutil.rmtree(folder / name)
    assert told in refusal(read_folder, folder)


def test_a_split_elsewhere_is_refused_with_the_reason(folder):
    (folder / "train").rename(folder.parent / "train")
    (folder / "train").symlink_to(folder.parent / "train")
    told = refusal(read_folder, folder)
    assert "train/Wespe ü can be read, the first 'train': a link that leads out of" in told
