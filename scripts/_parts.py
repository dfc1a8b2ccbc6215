"""Files cut into parts of one size, to carry where a transfer takes small files only."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_json, write_json

MANIFEST = "manifest.json"
BLOCK_BYTES = 2**22
# What a stage writes; nothing else is unpacked, whatever a manifest says.
WRITTEN = ("data", "metrics", "models", "plots", ".checkpoints")


def write_parts(
    root: Path, files: Sequence[Path], into: Path, part_bytes: int, first: int, count: int | None
) -> int:
    """Write the files, one after the other, as parts of equal size, and a manifest.

    Parameters
    ----------
    root, files
        The files lie under the root; the same files always give the same parts.
    into
        Where the parts and the manifest are written.
    part_bytes
        Size of each part but the last.
    first, count
        Which parts to write, for a transfer that takes a few at a time; None for all the rest.

    Returns
    -------
    int
        How many parts there are in all.
    """
    listed = []
    for file in files:
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        path = file.relative_to(root).as_posix()
        listed.append({"path": path, "bytes": file.stat().st_size, "sha256": digest})
    n_parts = -(-sum(entry["bytes"] for entry in listed) // part_bytes)
    last = n_parts if count is None else min(n_parts, first + count)
    write_json(into / MANIFEST, {"n_parts": n_parts, "files": listed})
    stream = _Joined(files)
    for number in range(last):
        part = stream.read(part_bytes)
        if number >= first:
            with atomic_path(into / _name(number)) as temporary:
                temporary.write_bytes(part)
    return n_parts


def read_parts(directories: Sequence[Path], root: Path) -> list[str]:
    """Put the files together again under the root, each whole or not at all; return their paths.

    Raises
    ------
    InputError
        If the manifests differ, a part is missing, a file comes out with other bytes, or a path
        leads elsewhere than to a stage's outs and checkpoints. No file has been replaced then.
    """
    manifests = [read_json(directory / MANIFEST) for directory in directories]
    if any(manifest != manifests[0] for manifest in manifests):
        raise InputError("the folders hold parts of different packs; give those of one pack")
    numbers = range(manifests[0]["n_parts"])
    found = {
        number: directory / _name(number)
        for directory in directories
        for number in numbers
        if (directory / _name(number)).exists()
    }
    missing = [number for number in numbers if number not in found]
    if missing:
        raise InputError(
            f"part {missing[0]} of {len(numbers)} is missing ({len(missing)} in all); "
            f"pack again with --first {missing[0]} and give that folder as well"
        )
    stream = _Joined(found[number] for number in numbers)
    replaced = []
    temporary = root / ".checkpoints" / "unpacked"
    for position, entry in enumerate(manifests[0]["files"]):
        path = PurePosixPath(entry["path"])
        if path.parts[0] not in WRITTEN or ".." in path.parts:
            raise InputError(f"{path} in the manifest is no file that a stage writes; pack again")
        with atomic_path(temporary / str(position)) as whole:
            _write_file(stream, whole, entry)
        replaced.append((temporary / str(position), root / path))
    for source, target in replaced:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # may be a link into DVC's cache
        source.replace(target)
    temporary.rmdir()
    return [entry["path"] for entry in manifests[0]["files"]]


class _Joined:
    """Files read one after the other as if they were one."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = iter(files)
        self._open: BinaryIO | None = None

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer at the end of the last file."""
        read = bytearray()
        while len(read) < size:
            if self._open is None:
                file = next(self._files, None)
                if file is None:
                    break
                self._open = open(file, "rb")  # noqa: SIM115
            block = self._open.read(size - len(read))
            read += block
            if not block:
                self._open.close()
                self._open = None
        return bytes(read)


def _write_file(stream: _Joined, target: Path, entry: dict) -> None:
    """Write the next bytes of the stream as the file that the manifest's entry tells of."""
    digest, left = hashlib.sha256(), entry["bytes"]
    with open(target, "wb") as file:
        while left:
            block = stream.read(min(left, BLOCK_BYTES))
            if not block:
                raise InputError(f"the parts end in the middle of {entry['path']}; pack again")
            file.write(block)
            digest.update(block)
            left -= len(block)
    if digest.hexdigest() != entry["sha256"]:
        raise InputError(f"{entry['path']} came out with other bytes than it had; pack again")


def _name(number: int) -> str:
    return f"part-{number:03d}"
