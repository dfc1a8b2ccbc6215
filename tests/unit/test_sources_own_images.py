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
    """Three photos of one size."""
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.fromarray(photo(i, 40, 40)).save(tmp_path / f"photos/{i}.png")
    return tmp_path / "photos"


def read(root, size_px=None, **options):
    params = DataParams("folder", str(root), size_px, **options)
    return load_source(params, "unused", root.parent / "pool")


def test_without_a_size_the_pixels_are_the_files(root):
    pool = read(root)
    assert pool.images.shape == (3, 40, 40, 3)
    assert np.array_equal(pool.images[pool.ids.index("2.png")], photo(2, 40, 40))


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
    assert len(pool.ids) == 23
    assert min(image.std() for image in pool.images) > 30


def test_no_image_at_all_is_told(root):
    (root.parent / "all.txt").write_text("0.png\n1.png\n2.png\n")
    (root / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no image \(1 other files, 3 excluded\)"):
        read(root, 16, exclude=str(root.parent / "all.txt"))
