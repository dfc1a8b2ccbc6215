import io

import numpy as np
from PIL import Image

from hostile import photo
from zeroshot_al.sources import duplicates
from zeroshot_al.sources.duplicates import (
    MAX_COLOUR_STEP,
    MAX_DISTANCE,
    Signatures,
    distinct_rows,
    near_duplicates,
    signatures,
)


def brute_force(found):
    """Compare all pairs, as the definition says."""
    rows = []
    for later in range(len(found.hashes)):
        near = []
        for earlier in range(later):
            distance = int(found.hashes[later] ^ found.hashes[earlier]).bit_count()
            step = np.abs(found.colours[later].astype(int) - found.colours[earlier]).max()
            if distance <= MAX_DISTANCE and step <= MAX_COLOUR_STEP:
                near.append((distance, earlier))
        if near:
            rows.append((later, min(near)[1], min(near)[0]))
    return rows


def clustered(seed, n_hashes, n_centres):
    """Hashes a few bits from some centres, so that many pairs lie around the limit."""
    draw = np.random.default_rng(seed)
    centres = draw.integers(0, 2**64, n_centres, dtype=np.uint64)
    hashes = centres[draw.integers(0, n_centres, n_hashes)]
    for _ in range(5):
        bits = np.uint64(1) << draw.integers(0, 64, n_hashes, dtype=np.uint64)
        hashes ^= np.where(draw.random(n_hashes) < 0.5, bits, np.uint64(0))
    return Signatures(hashes, draw.integers(100, 118, (n_hashes, 3)).astype(np.uint8))


def test_the_search_finds_what_comparing_all_pairs_finds():
    for seed in range(4):
        found = clustered(seed, 300, 12)
        expected = brute_force(found)
        assert 20 < len(expected) < 300
        assert near_duplicates(found) == expected


def test_no_images_and_one_image_have_no_duplicates():
    for n_images in (0, 1):
        empty = Signatures(np.zeros(n_images, np.uint64), np.zeros((n_images, 3), np.uint8))
        assert near_duplicates(empty) == []


def test_many_equal_hashes_do_not_take_quadratic_time(monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_NEIGHBOURS", 3)
    flat = Signatures(np.zeros(2000, np.uint64), np.full((2000, 3), 9, np.uint8))
    found = near_duplicates(flat)
    assert [later for later, _, _ in found] == list(range(1, 2000))
    assert all(later - earlier <= 3 for later, earlier, _ in found)


def test_the_hash_is_that_of_its_definition():
    image = photo(0, 48, 54)  # cells of 6 x 6
    luma = image @ np.array([77, 150, 29])
    cells = luma.reshape(8, 6, 9, 6).mean(axis=(1, 3))
    bits = "".join(str(int(bit)) for bit in (cells[:, :-1] < cells[:, 1:]).ravel())
    found = signatures(image[None])
    assert int(found.hashes[0]) == int(bits, 2)
    assert np.abs(found.colours[0] - image.mean(axis=(0, 1))).max() <= 1


def test_saved_again_or_smaller_is_near_and_another_photo_is_not():
    originals = [photo(seed, 64, 64) for seed in range(40)]
    again = []
    for pixels in originals:
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((48, 48)).save(buffer, "JPEG", quality=60)
        again.append(np.asarray(Image.open(buffer).resize((64, 64))))
    found = near_duplicates(signatures(np.stack(originals + again)))
    assert {(later, earlier) for later, earlier, _ in found} == {(i + 40, i) for i in range(40)}


def test_flat_images_of_other_colours_are_not_near():
    flat = np.zeros((3, 16, 16, 3), np.uint8)
    flat[1], flat[2] = (255, 0, 0), (250, 5, 5)
    assert near_duplicates(signatures(flat)) == [(2, 1, 0)]


def test_images_of_fewer_pixels_than_cells_have_hashes():
    draw = np.random.default_rng(0)
    for side in range(1, 9):
        images = draw.integers(0, 256, (5, side, side, 3), dtype=np.uint8)
        assert signatures(images).hashes.shape == (5,)


def test_distinct_rows_are_the_first_of_equal_ones_in_the_order_of_their_bytes():
    # Bytes of 0 are where a comparison of texts would end.
    digests = np.array([[9, 0], [1, 0], [9, 0], [0, 255], [1, 0], [1, 1], [0, 0]], np.uint8)
    order, first = distinct_rows(digests)
    assert order.tolist() == [6, 3, 1, 5, 0]
    assert first.tolist() == [0, 1, 0, 3, 1, 5, 6]
    order, first = distinct_rows(np.empty((0, 32), np.uint8))
    assert (len(order), len(first)) == (0, 0)
