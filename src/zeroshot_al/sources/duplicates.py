"""Equal images, which the pool keeps once, and nearly equal ones, which it only reports."""

from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

HASH_ROWS, HASH_COLUMNS = 8, 9  # 8 x 8 differences of neighbours in a row
# Of 64 bits. Copies saved again as JPEG or at half the size differ in 0 to 4 bits.
MAX_DISTANCE = 4
# In each channel's mean: flat images have equal hashes, whatever their colour.
MAX_COLOUR_STEP = 12
SHARED_BANDS = 2
# Images whose hashes share bands are compared with so many others at most. Only thousands of
# nearly flat images come near to it; without it, they would take quadratic time.
MAX_NEIGHBOURS = 1000


class Duplicate(NamedTuple):
    """A row of `duplicates.csv`; the distance is in bits of the perceptual hash, 0 to 64."""

    id: str
    duplicate_of: str
    kind: str
    distance: int


class Signatures(NamedTuple):
    """What near-duplicates are recognised by.

    Parameters
    ----------
    hashes : ndarray of shape (n,), uint64
        Difference hash: each bit says whether a cell of an 8 x 9 grid is darker than the one
        right of it. It outlives scaling, compression and changes of brightness.
    colours : ndarray of shape (n, 3), uint8
        Mean of each channel.
    """

    hashes: np.ndarray
    colours: np.ndarray


def signatures(images: np.ndarray) -> Signatures:
    """Hash images perceptually; in whole numbers, so that every machine has the same bits.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, 3), uint8

    References
    ----------
    N. Krawetz, "Kind of Like That", hackerfactor.com, 2013 (dHash).
    """
    n_images, height, width, _ = images.shape
    red, green, blue = (images[..., channel].astype(np.uint16) for channel in range(3))
    gray = 77 * red + 150 * green + 29 * blue  # BT.601's luma, x 256: at most 65,280
    rows = np.arange(HASH_ROWS) * height // HASH_ROWS
    columns = np.arange(HASH_COLUMNS) * width // HASH_COLUMNS
    sums = np.add.reduceat(gray, rows, axis=1, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns, axis=2, dtype=np.uint64)  # (n, 8, 9)
    # In an image of fewer pixels than cells, reduceat repeats a pixel: cells of one pixel.
    widths = np.maximum(np.diff(np.append(columns, width)), 1).astype(np.uint64)
    darker = sums[:, :, :-1] * widths[1:] < sums[:, :, 1:] * widths[:-1]
    hashes = np.packbits(darker.reshape(n_images, -1), axis=1).view(">u8")[:, 0].astype(np.uint64)
    means = [band.mean(axis=(1, 2), dtype=np.float64) for band in (red, green, blue)]
    colours = np.stack(means, axis=1).astype(np.uint8)
    return Signatures(hashes, colours)


def distinct_rows(digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort digests, and find the first of equal ones.

    Parameters
    ----------
    digests : ndarray of shape (n, n_bytes), uint8

    Returns
    -------
    order : ndarray of shape (n_distinct,), int64
        Indices of the first of equal ones, sorted by their bytes.
    first : ndarray of shape (n,), int64
        Index of the first one equal to each.
    """
    texts = np.ascontiguousarray(digests).view(f"S{digests.shape[1]}")[:, 0]
    order = np.argsort(texts, kind="stable")
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = texts[order[1:]] != texts[order[:-1]]
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[is_first][np.cumsum(is_first) - 1]
    return order[is_first], first


def near_duplicates(found: Signatures) -> list[tuple[int, int, int]]:
    """Find, for each image, the nearest earlier one within `MAX_DISTANCE` bits.

    Two hashes that differ in at most 4 of 64 bits agree in 2 of 6 bands of bits at least, so only
    images that share two bands, about 21 bits, are compared: among a million few do by chance.

    Returns
    -------
    list of (index, earlier index, distance)
        Sorted by index; of equally near images the first.

    References
    ----------
    Manku, Jain and Das Sarma, "Detecting Near-Duplicates for Web Crawling", 2007, section 3.
    """
    n_bands = MAX_DISTANCE + SHARED_BANDS
    edges = [64 * band // n_bands for band in range(n_bands + 1)]
    bands = [(1 << high) - (1 << low) for low, high in pairwise(edges)]
    # Distance and earlier index in one number, whose minimum is the nearest and of these the first.
    n_images = len(found.hashes)
    nothing = 65 * n_images
    best = np.full(n_images, nothing, dtype=np.int64)
    for shared in combinations(bands, SHARED_BANDS):
        _compare_within(found, found.hashes & np.uint64(sum(shared)), best)
    later = np.flatnonzero(best < nothing)
    distances, earlier = np.divmod(best[later], max(1, n_images))
    return list(zip(later.tolist(), earlier.tolist(), distances.tolist(), strict=True))


def _compare_within(found: Signatures, band: np.ndarray, best: np.ndarray) -> None:
    """Compare all images whose bits `band` are the same, and lower `best` to what is found."""
    # The hash as the second key puts the nearest first, should the limit be reached.
    order = np.lexsort((found.hashes, band))
    band, hashes = band[order], found.hashes[order]
    colours = found.colours[order].astype(np.int16)
    starts = np.arange(len(order))
    for step in range(1, MAX_NEIGHBOURS + 1):
        starts = starts[starts + step < len(order)]
        starts = starts[band[starts] == band[starts + step]]
        if not len(starts):
            break
        distances = np.bitwise_count(hashes[starts] ^ hashes[starts + step])
        near = distances <= MAX_DISTANCE
        one, other, distances = starts[near], starts[near] + step, distances[near]
        alike = (np.abs(colours[one] - colours[other]) <= MAX_COLOUR_STEP).all(axis=1)
        ends = order[one[alike]], order[other[alike]]
        merits = distances[alike].astype(np.int64) * len(best) + np.minimum(*ends)
        np.minimum.at(best, np.maximum(*ends), merits)
