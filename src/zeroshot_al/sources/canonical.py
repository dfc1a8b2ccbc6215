"""One order for the same images, however they arrived: sorted by a hash of their pixels.

The order of an archive or of file names follows classes or recording sessions, and ties in
k-center go to the smallest index, so such an order would leak labels into the selection. A
sha256 of the pixels knows neither the label nor the source.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroshot_al.base.pool import Pool
from zeroshot_al.sources.npy_rows import reorder_rows

DIGEST_BYTES = hashlib.sha256().digest_size
ID_BYTES = 8  # of the digest; 16 hexadecimal digits


@dataclass(frozen=True, eq=False)
class RawImages:
    """What a source without files of its own delivers, in its own order of arrival.

    Parameters
    ----------
    images : ndarray of shape (n_samples, height, width, 3), uint8, writable
    splits, labels : sequence of str, n_samples each
    """

    images: np.ndarray
    splits: Sequence[str]
    labels: Sequence[str]


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """Hash each image's pixels: uint8 (n, height, width, 3) to sha256, uint8 (n, 32)."""
    digests = np.empty((len(images), DIGEST_BYTES), dtype=np.uint8)
    for row, image in zip(digests, images, strict=True):
        row[:] = np.frombuffer(hashlib.sha256(np.ascontiguousarray(image)).digest(), np.uint8)
    return digests


def canonical_order(
    digests: np.ndarray,
    splits: Sequence[str],
    labels: Sequence[str],
    names: Sequence[str] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Sort by (train before test, sha256 of the pixels, id or label) and name each image.

    Parameters
    ----------
    digests : ndarray of shape (n_samples, 32), uint8
        Of `pixel_digests`.
    splits, labels : sequence of str, n_samples each
    names : sequence of str, n_samples, optional
        The user's own, which become the ids.

    Returns
    -------
    order : ndarray of shape (n_samples,), int64
    ids : tuple of str
        In that order; without names "<split>/<16 hex digits>" and "-2", "-3", ... after the second
        and later images whose digits are equal.
    """
    last_key = labels if names is None else names
    # Stable sorts, the last key first: no tuple of keys for each of a million images.
    order = np.array(sorted(range(len(splits)), key=last_key.__getitem__), dtype=np.int64)
    texts = np.ascontiguousarray(digests).view(f"S{DIGEST_BYTES}")[:, 0]
    order = order[np.argsort(texts[order], kind="stable")]
    is_test = np.array([split != "train" for split in splits])
    order = order[np.argsort(is_test[order], kind="stable")]
    if names is not None:
        return order, tuple(names[i] for i in order)
    seen: Counter[str] = Counter()
    ids = []
    for i in order:
        name = f"{splits[i]}/{digests[i, :ID_BYTES].tobytes().hex()}"
        seen[name] += 1
        ids.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return order, tuple(ids)


def canonical_pool(raw: RawImages) -> Pool:
    """Bring images into canonical order, in place, with ids made from their pixels."""
    order, ids = canonical_order(pixel_digests(raw.images), raw.splits, raw.labels)
    reorder_rows(raw.images, order.tolist())
    splits, labels = (tuple(values[i] for i in order) for values in (raw.splits, raw.labels))
    return Pool(raw.images, ids, splits, labels)


def images_fingerprint(digests: np.ndarray, splits: Sequence[str], labels: Sequence[str]) -> str:
    """Hash every image's digest, split and label, in canonical order: sha256, hexadecimal."""
    total = hashlib.sha256()
    for i in canonical_order(digests, splits, labels)[0]:
        total.update(f"{splits[i]} {digests[i].tobytes().hex()} {labels[i]}\n".encode())
    return total.hexdigest()
