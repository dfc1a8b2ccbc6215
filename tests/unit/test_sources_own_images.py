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
    ((ids, (kind, _)),) = reports(root).items()
    assert (ids, kind) == (("again.jpg", "1.png"), "near")


def reports(root):
    return {
        (row["id"], row["duplicate_of"]): (row["kind"], row["distance"])
        for row in read_csv(
            root.parent / "pool/duplicates.csv", ["id", "duplicate_of", "kind", "distance"]
        )
    }


def test_only_equal_originals_are_exact_copies(root, caplog):
    """Beside originals that differ outside of the square, in fine detail, in depth or in alpha."""
    caplog.set_level("INFO")
    for path in root.iterdir():
        path.unlink()
    pixels = {
        "wide": np.full((120, 320, 3), 90, np.uint8),
        "page": np.full((2000, 2000), 200, np.uint8),
        "deep": photo(4, 64, 64)[..., 0].astype(np.uint16) * 200,
        "clear": np.dstack([photo(5, 64, 64), np.zeros((64, 64), np.uint8)]),
    }
    pixels["wide"][:, 100:220] = photo(3, 120, 120)
    changed = {name: values.copy() for name, values in pixels.items()}
    changed["wide"][20:100, :80] = photo(6, 80, 80)
    changed["page"][700, 600:640] = 235
    changed["deep"][40, 40] += 1
    changed["clear"][9, 9, 0] ^= 255
    for name, values in pixels.items():
        Image.fromarray(values).save(root / f"{name}.png")
        Image.fromarray(values).save(root / f"{name} again.tif")
        Image.fromarray(values).save(root / f"{name} packed.png", compress_level=0)
        Image.fromarray(changed[name]).save(root / f"{name} other.png")
    pool = read(root, 32)
    assert len(set(map(bytes, pool.images))) == 4
    # The first of equal ones by its name is kept.
    kept = ("again.tif", "other.png")
    assert set(pool.ids) == {f"{name} {which}" for name in pixels for which in kept}
    assert reports(root) == {
        (f"{name}{suffix}", f"{name} again.tif"): (kind, "0")
        for name in pixels
        for suffix, kind in ((".png", "exact"), (" packed.png", "exact"), (" other.png", "near"))
    }
    assert (
        "4 images of more than 8 bits brought to 8, each by the range that it uses" in caplog.text
    )


def test_dim_images_are_all_kept_and_seen(root):
    for i in range(10, 30):
        dim = 10 + photo(i, 40, 40)[..., 0].astype(np.uint16) * 2 // 5
        Image.fromarray(dim).save(root / f"{i}.{'tif' if i % 2 else 'png'}")
    pool = read(root, 32)
    assert len(pool.ids) == 24
    assert min(image.std() for image in pool.images) > 30


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
