"""One order for the same images, however they arrived: sorted by a hash of their pixels.

The order of an archive or of file names follows classes or recording sessions, and ties in
k-center go to the smallest index, so such an order would leak labels into the selection. A
sha256 of the pixels knows neither the label nor the source.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.pool import Pool

ID_DIGITS = 16  # hexadecimal; 64 bits


@dataclass(frozen=True, eq=False)
class RawImages:
    """What a source delivers, in its own order of arrival.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), uint8, writable
    splits, labels : sequence of str, n_samples each
    names : sequence of str, n_samples, optional
        The user's own names, which become the ids; without them ids are made from pixel hashes.
    """

    images: np.ndarray
    splits: Sequence[str]
    labels: Sequence[str]
    names: Sequence[str] | None = None


def pixel_hashes(images: np.ndarray) -> list[str]:
    """Hash each image's pixels.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), uint8

    Returns
    -------
    list of str
        n_samples sha256 digests, hexadecimal.
    """
    return [hashlib.sha256(np.ascontiguousarray(image)).hexdigest() for image in images]


def canonical_pool(raw: RawImages) -> Pool:
    """Sort by (train before test, sha256 of the pixels, id or label) and name each image.

    The last key matters between equal images only. `raw.images` is reordered in place, because a
    second copy of a large pool may not fit in memory.

    Returns
    -------
    Pool
        With ids `raw.names`, or "<split>/<16 hex digits>" and "-2", "-3", ... after the second
        and later images whose digits are equal.
    """
    hashes = pixel_hashes(raw.images)
    last_key = raw.labels if raw.names is None else raw.names
    order = sorted(
        range(len(hashes)), key=lambda i: (raw.splits[i] != "train", hashes[i], last_key[i])
    )
    reorder_rows(raw.images, order)
    splits = tuple(raw.splits[i] for i in order)
    if raw.names is None:
        ids = _number_repeats(f"{raw.splits[i]}/{hashes[i][:ID_DIGITS]}" for i in order)
    else:
        ids = tuple(raw.names[i] for i in order)
    return Pool(raw.images, ids, splits, tuple(raw.labels[i] for i in order))


def fingerprint(pool: Pool) -> str:
    """Hash every image, its split and its label, in the pool's order: sha256, hexadecimal."""
    total = hashlib.sha256()
    for split, label, digest in zip(
        pool.splits, pool.labels, pixel_hashes(pool.images), strict=True
    ):
        total.update(f"{split} {digest} {label}\n".encode())
    return total.hexdigest()


def _number_repeats(names) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(numbered)


def reorder_rows(array: np.ndarray, order: Sequence[int]) -> None:
    """Do `array[:] = array[order]` with one row of extra memory, along the permutation's cycles."""
    done = np.zeros(len(array), dtype=bool)
    for start in range(len(array)):
        if done[start]:
            continue
        first, row = array[start].copy(), start
        while order[row] != start:
            array[row] = array[order[row]]
            done[row] = True
            row = order[row]
        array[row] = first
        done[row] = True
