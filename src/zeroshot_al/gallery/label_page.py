"""label.html: the picks to be labelled in the browser, one file that needs no server.

Like the gallery it loads nothing, and runs our script alone. The labels stay in the browser's
storage, under the hash of the batch, until its button saves them as a CSV. More picks than fit into
`MAX_BYTES` are split into label_1.html, label_2.html and so on, by rank.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zeroshot_al.base.files import atomic_path
from zeroshot_al.gallery.exports import Pick
from zeroshot_al.gallery.html import render
from zeroshot_al.gallery.thumbnails import file_thumbnails, thumbnail

MAX_BYTES = 60_000_000
BYTES_A_PICK = 400  # beside its image and twice its id: what the page knows of it
LARGE_PX = 256
N_DIMS = 32  # principal components by which the page tells look-alikes


def write_label_pages(
    directory: Path,
    picks: Sequence[Pick],
    images: np.ndarray | None,
    rows: np.ndarray,
    classes: Sequence[str],
    batch: int,
    max_bytes: int = MAX_BYTES,
) -> list[str]:
    """Write the page, or its parts.

    Parameters
    ----------
    directory, picks
    images : ndarray of shape (n_picks, height, width, 3), uint8, or None
        Of the picks; None to show their files. Without either there is no page.
    rows : ndarray of shape (n_picks, n_dims), float32
        Embeddings of the picks.
    classes : sequence of str
        Names known so far; the annotator may add others.
    batch : int
        Number of the batch, in the names of the files of labels.
    max_bytes : int
        Of a page; a single image may exceed it.

    Returns
    -------
    list of str
        Names of the files.

    Raises
    ------
    InputError
        If the file of a pick cannot be read.
    """
    if images is None and not picks[0].path:
        return []
    if images is None:
        addresses = file_thumbnails([pick.path for pick in picks], LARGE_PX)
    else:
        addresses = [thumbnail(pixels, LARGE_PX)[0] for pixels in images]
    points = look_alike_points(rows)
    sizes = [
        BYTES_A_PICK + len(address) + 2 * len(pick.id.encode())
        for pick, address in zip(picks, addresses, strict=True)
    ]
    parts = split(sizes, max_bytes)
    several = len(parts) > 1
    names = [f"label_{i + 1}.html" for i in range(len(parts))] if several else ["label.html"]
    hashes = [batch_hash([pick.id for pick in picks[part]]) for part in parts]
    for number, part in enumerate(parts):
        file = f"labels_{batch}" + (f"_part_{number + 1}" if several else "") + ".csv"
        data = {
            "batch": hashes[number],
            "parts": hashes,
            "file": file,
            "classes": list(classes),
            "n_dims": points.shape[1],
            "points": base64.b64encode(points[part].tobytes()).decode(),
            "picks": _shown(picks[part], addresses[part]),
        }
        text = render(
            "label.html.j2",
            ["gallery.css", "label.css"],
            ["label_store.js", "label.js", "label_draw.js"],
            data=data,
            names=names,
            number=number,
            has_others=several or batch > 1,
        )
        with atomic_path(directory / names[number]) as temporary:
            temporary.write_bytes(text.encode())
    return names


def _shown(picks: Sequence[Pick], addresses: Sequence[str]) -> list[dict[str, object]]:
    """Make what the page knows of each pick."""
    return [
        {
            "id": pick.id,
            "rank": pick.rank,
            "reason": pick.reason,
            "guess": pick.guess,
            "image": address,
        }
        for pick, address in zip(picks, addresses, strict=True)
    ]


def batch_hash(ids: Sequence[str]) -> str:
    """Hash the ids of a batch, in their order."""
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()


def split(sizes: Sequence[int], limit: int) -> list[slice]:
    """Cut a sequence into the fewest runs whose sizes sum to no more than the limit."""
    starts, total = [0], 0
    for number, size in enumerate(sizes):
        if total + size > limit and number > starts[-1]:
            starts.append(number)
            total = 0
        total += size
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(sizes)], strict=True)]


def look_alike_points(rows: np.ndarray) -> np.ndarray:
    """Reduce embeddings to what the page needs to tell look-alikes.

    Parameters
    ----------
    rows : ndarray of shape (n_picks, n_dims), float32

    Returns
    -------
    ndarray of shape (n_picks, at most N_DIMS), int8
        The first principal components, in one scale.
    """
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    if len(rows) == 1:
        return np.zeros((1, 1), dtype=np.int8)
    n_components = min(N_DIMS, *rows.shape)
    with threadpool_limits(1):  # sums by several threads differ from run to run
        reduced = PCA(n_components, svd_solver="covariance_eigh").fit_transform(rows)
    scale = 127 / max(np.abs(reduced).max(), np.finfo(np.float32).tiny)
    return np.rint(reduced * scale).astype(np.int8)
