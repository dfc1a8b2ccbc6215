"""Many image files into one memory-mapped array, and which of them are copies of each other."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from zeroshot_al.base.errors import InputError
from zeroshot_al.sources.canonical import DIGEST_BYTES
from zeroshot_al.sources.decode import RejectedError, decode, original_digest
from zeroshot_al.sources.decoders import read_in_turn, run_decoders
from zeroshot_al.sources.duplicates import Signatures, distinct_rows, signatures
from zeroshot_al.sources.npy_rows import create_npy
from zeroshot_al.sources.user_files import open_regular

BLOCK_BYTES = 2**22  # of pixels that a worker holds before it writes them
GIVE_SIZE_PX = "give the working resolution data.size_px"


class RequiredShape(NamedTuple):
    """The shape (height, width, 3) that images have to have, who else has it, and the remedy."""

    shape: tuple[int, int, int]
    whose: str
    remedy: str


@dataclass(eq=False)
class Ingested:
    """What is known of each file after decoding.

    Parameters
    ----------
    reasons : dict of int to str
        Why there is no image, by the number of a file that gave none.
    digests : ndarray of shape (n_files, 32), uint8
        sha256 of the pixels; zeros where there is no image, and so in the signatures.
    signatures : Signatures
        Of n_files rows.
    n_deep : int
        Images of more than 8 bits, which were brought to 8.
    """

    reasons: dict[int, str]
    digests: np.ndarray
    signatures: Signatures
    n_deep: int = 0

    @cached_property
    def good(self) -> np.ndarray:
        """The sorted numbers of the files that gave an image, int64."""
        return np.setdiff1d(np.arange(len(self.digests)), list(self.reasons))


def decode_files(
    root: str, paths: Sequence[str], required: RequiredShape, size_px: int | None, out: Path
) -> Ingested:
    """Decode files into `out`, an .npy file of shape (n_files, height, width, 3), uint8, by rows.

    A file that gives no image leaves zeros. No process holds more than a block of rows.

    Parameters
    ----------
    root : str
    paths : sequence of str, n_files
        Absolute, or relative to `root`.
    required : RequiredShape
    size_px : int, optional
        As for `decode`.
    out : Path
        Is replaced; its place is reserved on the disk before the first image.

    Raises
    ------
    InputError
        If an image is of another shape, or if a file crashes a worker.
    OSError
        If the disk is full.
    """
    n_files = len(paths)
    offset = create_npy(out, (n_files, *required.shape))
    block = max(1, min(256, BLOCK_BYTES // int(np.prod(required.shape))))
    jobs = [range(n_files)[start : start + block] for start in range(0, n_files, block)]
    result = Ingested(
        {},
        np.zeros((n_files, DIGEST_BYTES), np.uint8),
        Signatures(np.zeros(n_files, np.uint64), np.zeros((n_files, 3), np.uint8)),
    )
    work = partial(_decode_block, out, offset, required, size_px)
    with closing(run_decoders(root, paths, work, jobs, "decode")) as blocks:
        for job, reasons, digests, found, n_deep in blocks:
            rows = slice(job.start, job.stop)
            result.reasons.update(reasons)
            result.digests[rows] = digests
            result.signatures.hashes[rows] = found.hashes
            result.signatures.colours[rows] = found.colours
            result.n_deep += n_deep
    return result


def _decode_block(
    out: Path, offset: int, required: RequiredShape, size_px: int | None, job: range
) -> tuple[range, dict[int, str], np.ndarray, Signatures, int]:
    block = np.zeros((len(job), *required.shape), dtype=np.uint8)
    reasons: dict[int, str] = {}
    digests = np.zeros((len(job), DIGEST_BYTES), dtype=np.uint8)
    n_deep = 0
    for i, (index, path) in enumerate(read_in_turn(job)):
        try:
            image, was_deep = decode(path, size_px)
        except RejectedError as error:
            reasons[index] = str(error)
            continue
        shape, whose, remedy = required
        if image.shape != shape:
            raise InputError(
                f"{path} has {image.shape[1]} x {image.shape[0]} pixels and {whose} "
                f"{shape[1]} x {shape[0]}; {remedy}"
            )
        block[i] = image
        digests[i] = np.frombuffer(hashlib.sha256(image).digest(), np.uint8)
        n_deep += was_deep
    with open(out, "rb+", buffering=0) as file:
        file.seek(offset + job.start * block[0].nbytes)
        rest = memoryview(block).cast("B")
        while rest:
            rest = rest[file.write(rest) :]
    return job, reasons, digests, signatures(block), n_deep


def exact_keys(root: str, paths: Sequence[str], found: Ingested) -> np.ndarray:
    """Make keys that are equal for exact copies alone: files that decode to equal originals.

    Images that are equal at the working size and in 8 bits need not be. Those alone are looked at
    again, by their bytes, and decoded in full where these differ.

    Returns
    -------
    ndarray of shape (n_good, 64), uint8
        Of `found.good`: the digest of the pixels, and behind it that of the original, which is
        zeros where no other image has equal pixels.
    """
    good = found.good
    digests = found.digests[good]
    keys = np.concatenate([digests, np.zeros_like(digests)], axis=1)
    _, first = distinct_rows(digests)
    alike = np.flatnonzero(np.bincount(first, minlength=1)[first] > 1)
    alike = alike[np.argsort(first[alike], kind="stable")]
    groups = np.split(good[alike], np.flatnonzero(np.diff(first[alike])) + 1)
    jobs = [group.tolist() for group in groups if len(group)]
    with closing(run_decoders(root, paths, _original_digests, jobs, "compare")) as compared:
        for job, originals in compared:
            for row, original in zip(np.searchsorted(good, job), originals, strict=True):
                keys[row, DIGEST_BYTES:] = np.frombuffer(original, np.uint8)
    return keys


def _original_digests(job: Sequence[int]) -> tuple[Sequence[int], list[bytes]]:
    contents = []
    for _, path in read_in_turn(job):
        with open_regular(path) as file:
            contents.append(hashlib.file_digest(file, "sha256").digest())
    if len(set(contents)) == 1:
        return job, contents
    originals: dict[bytes, bytes] = {}
    for content, (_, path) in zip(contents, read_in_turn(job), strict=True):
        if content not in originals:
            try:
                originals[content] = original_digest(path)
            except RejectedError:  # such as too large for the memory: a copy of nothing
                originals[content] = content
    return job, [originals[content] for content in contents]
