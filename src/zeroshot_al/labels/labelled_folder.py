"""A folder of labelled test images, a folder a class, at the pool's working resolution."""

from pathlib import Path

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import expanded
from zeroshot_al.labels.label_join import TEST_IMAGE, Problem
from zeroshot_al.sources.canonical import pixel_digests
from zeroshot_al.sources.folder import list_folder
from zeroshot_al.sources.ingest import GIVE_SIZE_PX, RequiredShape, decode_files
from zeroshot_al.sources.npy_rows import keep_rows


def read_labelled_folder(
    root: str | Path, pool_images: np.ndarray, size_px: int | None, out: Path
) -> tuple[dict[str, str], list[Problem]]:
    """Decode test images as the pool's were.

    Parameters
    ----------
    root : path
        With <class>/ folders.
    pool_images : ndarray of shape (n_samples, height, width, 3), uint8
        A test image of equal pixels would test what may be trained on; it is left out.
    size_px : int, optional
        As for `decode`.
    out : Path
        Is written: an .npy file of shape (n_test, height, width, 3), uint8.

    Returns
    -------
    labels : dict of str to str
        By path relative to the root, one for each row of `out`.
    problems : list of Problem

    Raises
    ------
    InputError
        If the folder is none, or holds no image in a class folder.
    """
    root = expanded(root)
    if not root.is_dir():
        raise InputError(f"labels.test_root {str(root)!r} is not a folder; change it")
    listed = list_folder(root)
    reasons = dict(listed.rejected)
    reasons |= {name: "outside of the class folders" for name in listed.files if "/" not in name}
    names = sorted(name for name in listed.files if "/" in name)
    good = []
    if names:
        required = RequiredShape(pool_images.shape[1:], "the pool's images", GIVE_SIZE_PX)
        found = decode_files(listed.root, names, required, size_px, out)
        in_pool = {digest.tobytes() for digest in pixel_digests(pool_images)}
        for row, name in enumerate(names):
            reason = found.reasons.get(row)
            if reason is None and found.digests[row].tobytes() in in_pool:
                reason = "equal to an image of the pool"
            if reason is None:
                good.append(row)
            else:
                reasons[name] = reason
    if not good:
        first = min(reasons.items(), default=("", "the folder is empty"))
        raise InputError(
            f"{root} holds no test image in a class folder ({': '.join(filter(None, first))}); "
            "put them into <class>/"
        )
    keep_rows(out, good)
    labels = {names[row]: names[row].partition("/")[0].strip() for row in good}
    return labels, [Problem(name, TEST_IMAGE, why) for name, why in sorted(reasons.items())]
