"""Rows of an .npy file that is larger than memory: made, put in order and cut off in place."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def create_npy(path: Path, shape: tuple[int, ...]) -> int:
    """Create a uint8 .npy file of zeros, its space reserved, and return where its data begin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        offset = _write_header(file, shape)
        size = offset + int(np.prod(shape))
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            file.flush()
            # A full disk is told now, not in an hour.
            os.posix_fallocate(file.fileno(), 0, size)
    return offset


def keep_rows(path: Path, order: np.ndarray | Sequence[int]) -> None:
    """Bring the rows of `order` to the front of a uint8 .npy file in place; cut off the rest."""
    images = np.lib.format.open_memmap(path, mode="r+")
    shape = images.shape[1:]
    rest = np.ones(len(images), dtype=bool)
    rest[order] = False
    # A plain view: each row of a memmap would be one more Python object of its class.
    reorder_rows(np.asarray(images), np.concatenate([order, np.flatnonzero(rest)]).tolist())
    images.flush()
    del images
    with open(path, "rb+") as file:
        # NumPy leaves room in the header for the first axis to be of any length.
        file.truncate(_write_header(file, (len(order), *shape)) + len(order) * int(np.prod(shape)))
        os.fsync(file.fileno())


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


def _write_header(file, shape: tuple[int, ...]) -> int:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()
