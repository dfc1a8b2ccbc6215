"""The refusals of a folder as a whole; tests/pipeline/test_own_images.py has the rest."""

import numpy as np
import pytest
from PIL import Image

from hostile import photo
from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import read_csv
from zeroshot_al.sources.load import load_source
from zeroshot_al.sources.params import DataParams


@pytest.fixture
def root(tmp_path):
    """Three photos of one size, one of them twice with a small change."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(photo(i, 40, 40)).save(tmp_path / f"photos/{i}.png")
    Image.fromarray(photo(1, 40, 40)).save(tmp_path / "photos/again.jpg", quality=80)
    return tmp_path / "photos"


def read(root, size_px=None, **options):
    params = DataParams("folder", str(root), size_px, **options)
    return load_source(params, "unused", root.parent / "pool")


def test_without_a_size_the_pixels_are_the_files(root):
    pool = read(root)
    assert pool.images.shape == (4, 40, 40, 3)
    assert np.array_equal(pool.images[pool.ids.index("2.png")], photo(2, 40, 40))


def test_near_duplicates_are_reported_and_kept(root):
    assert len(read(root, 32).ids) == 4
    rows = read_csv(root.parent / "pool/duplicates.csv", ["id", "duplicate_of", "kind", "distance"])
    assert [(row["id"], row["duplicate_of"], row["kind"]) for row in rows] == [
        ("again.jpg", "1.png", "near")
    ]


def test_sizes_that_differ_are_told_with_the_remedy(root):
    Image.fromarray(photo(9, 41, 40)).save(root / "9.png")
    with pytest.raises(InputError, match=r"9\.png has 40 x 41 .*0\.png 40 x 40; give the working"):
        read(root)
    assert len(read(root, 16).ids) == 5


def test_a_first_file_that_is_broken_does_not_matter(root):
    (root / "0.png").write_bytes(b"")
    assert len(read(root).ids) == 3


@pytest.mark.parametrize("size_px", [None, 16])
def test_no_good_image_is_told_with_the_count(root, size_px):
    for path in root.iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"none of the 4 images .* the first '0\.png': the file"):
        read(root, size_px)


def test_no_image_at_all_is_told(root):
    (root.parent / "all.txt").write_text("0.png\n1.png\n2.png\nagain.jpg\n")
    (root / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no image \(1 other files, 4 excluded\)"):
        read(root, 16, exclude=str(root.parent / "all.txt"))


def test_all_labelled_leaves_nothing_to_order(root):
    (root.parent / "all.txt").write_text("0.png\n1.png\n2.png\nagain.jpg\n")
    with pytest.raises(InputError, match="all 4 images are labelled already"):
        read(root, 16, labelled=str(root.parent / "all.txt"))
