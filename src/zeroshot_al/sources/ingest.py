"""Many image files into one memory-mapped array, decoded by processes side by side.

Processes rather than threads: for small images Pillow holds the interpreter's lock most of the
time, and two threads decode fewer than one (5,100/s and 7,800/s, PNGs of 32 x 32).
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.workers import CONTEXT, n_cores, worker_pool
from zeroshot_al.sources.canonical import DIGEST_BYTES
from zeroshot_al.sources.decode import RejectedError, decode_image
from zeroshot_al.sources.duplicates import Signatures, signatures
from zeroshot_al.sources.npy_rows import create_npy

BLOCK_BYTES = 2**22  # of pixels that a worker holds before it writes them
DATA_SIZE = "give the working resolution data.size_px"


@dataclass(frozen=True)
class Due:
    """The shape that images have to have, and what is told of one of another.

    Parameters
    ----------
    shape : tuple of int
        (height, width, 3).
    whose : str
        Who else has it.
    remedy : str
    """

    shape: tuple[int, int, int]
    whose: str
    remedy: str

    def refuse(self, path: str, shape: tuple[int, ...]) -> NoReturn:
        """Raise an `InputError` for an image of another shape."""
        raise InputError(
            f"{path} has {shape[1]} x {shape[0]} pixels and {self.whose} "
            f"{self.shape[1]} x {self.shape[0]}; {self.remedy}"
        )


@dataclass(frozen=True, eq=False)
class Ingested:
    """What is known of each file after decoding.

    Parameters
    ----------
    reasons : dict of int to str
        Why there is no image, by the file's number; files that gave one are not in it.
    digests : ndarray of shape (n_files, 32), uint8
        sha256 of the pixels; zeros where there is no image.
    signatures : Signatures
        Of n_files rows; those of files without an image mean nothing.
    """

    reasons: dict[int, str]
    digests: np.ndarray
    signatures: Signatures

    @cached_property
    def good(self) -> np.ndarray:
        """The sorted numbers of the files that gave an image, int64."""
        return np.setdiff1d(np.arange(len(self.digests)), list(self.reasons))


@dataclass(frozen=True)
class _Task:
    """What every worker knows from its start."""

    root: str
    paths: Sequence[str]
    due: Due
    size_px: int | None
    out: Path
    offset: int  # of the first pixel in the file
    reading: Any  # a shared array without a lock: the file that each worker is at, or -1
    n_started: Any


_task: _Task | None = None
_slot = 0


def decode_files(
    root: str, paths: Sequence[str], due: Due, size_px: int | None, out: Path
) -> Ingested:
    """Decode files into `out`, an .npy file of shape (n_files, height, width, 3), uint8, by rows.

    A file that gives no image leaves zeros. No process holds more than a block of rows.

    Parameters
    ----------
    root : str
    paths : sequence of str, n_files
        Absolute, or relative to `root`.
    due : Due
        The shape of every image.
    size_px : int, optional
        As for `decode_image`. None demands that the images have that shape.
    out : Path
        Is written anew; its place is reserved on the disk before the first image.

    Raises
    ------
    InputError
        If an image is of another shape, or if a file crashes a worker.
    OSError
        If the disk is full.
    """
    offset = create_npy(out, (len(paths), *due.shape))
    block = max(1, min(256, BLOCK_BYTES // int(np.prod(due.shape))))
    starts = range(0, len(paths), block)
    n_workers = min(n_cores(), len(starts))
    task = _Task(
        root,
        paths,
        due,
        size_px,
        out,
        offset,
        CONTEXT.RawArray("q", [-1] * n_workers),
        CONTEXT.Value("q", 0),
    )
    result = Ingested(
        {},
        np.zeros((len(paths), DIGEST_BYTES), np.uint8),
        Signatures(np.zeros(len(paths), np.uint64), np.zeros((len(paths), 3), np.uint8)),
    )
    try:
        with (
            tqdm(total=len(paths), desc="decode", unit="img", disable=None) as bar,
            worker_pool(n_workers, _start_worker, task) as pool,
        ):
            # Kept in no variable: what a task has returned is freed when it has been read.
            for future in as_completed(
                [pool.submit(_decode_block, start, block) for start in starts]
            ):
                start, reasons, digests, found = future.result()
                rows = slice(start, start + len(digests))
                result.reasons.update(reasons)
                result.digests[rows] = digests
                result.signatures.hashes[rows] = found.hashes
                result.signatures.colours[rows] = found.colours
                bar.update(len(digests))
    except BrokenProcessPool:
        raise InputError(_crash(task)) from None
    return result


def _crash(task: _Task) -> str:
    suspects = [_full_path(task, index) for index in task.reading if index >= 0]
    return (
        f"a decoder crashed at {' or '.join(suspects) or 'an image'}; "
        "take the file away, list its id in data.exclude (of folder and csv), or give more memory"
    )


def _full_path(task: _Task, index: int) -> str:
    return os.path.join(task.root, task.paths[index])  # noqa: PTH118


def _start_worker(task: _Task) -> None:
    global _task, _slot
    _task = task
    with task.n_started.get_lock():
        _slot = task.n_started.value % len(task.reading)
        task.n_started.value += 1


def _decode_block(start: int, length: int) -> tuple[int, dict[int, str], np.ndarray, Signatures]:
    paths = [_full_path(_task, index) for index in range(len(_task.paths))[start : start + length]]
    block = np.zeros((len(paths), *_task.due.shape), dtype=np.uint8)
    reasons: dict[int, str] = {}
    digests = np.zeros((len(paths), DIGEST_BYTES), dtype=np.uint8)
    for i, path in enumerate(paths):
        _task.reading[_slot] = start + i
        try:
            image = decode_image(path, _task.size_px)
        except RejectedError as error:
            reasons[start + i] = str(error)
            continue
        if image.shape != _task.due.shape:
            _task.due.refuse(path, image.shape)
        block[i] = image
        digests[i] = np.frombuffer(hashlib.sha256(image).digest(), np.uint8)
    _task.reading[_slot] = -1
    with open(_task.out, "rb+", buffering=0) as file:
        file.seek(_task.offset + start * block[0].nbytes)
        rest = memoryview(block).cast("B")
        while rest:
            rest = rest[file.write(rest) :]
    return start, reasons, digests, signatures(block)
