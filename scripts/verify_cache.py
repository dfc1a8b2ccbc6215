"""Compare every object in DVC's cache with the hash that it is named by, and remove damaged ones.

    python scripts/verify_cache.py

DVC takes a read-only object in its cache for whole: one that the disk has damaged is checked out in
silence, and `dvc status` and `dvc repro` see nothing. Once it is removed, `dvc repro` makes it
again, or `dvc fetch` brings it from a remote. Exits with 1 if there was a damaged one.
"""

import hashlib
import sys
from pathlib import Path

from tqdm import tqdm

CACHE = Path(".dvc/cache/files/md5")


def remove_damaged(cache: Path) -> list[Path]:
    """Remove the objects whose md5 is not their name, and return them."""
    damaged = []
    for file in tqdm(sorted(cache.glob("??/*")), "verify", unit="file", disable=None):
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "md5").hexdigest()
        if file.parent.name + file.name.removesuffix(".dir") != digest:
            file.unlink()
            damaged.append(file)
    return damaged


def main() -> None:
    """Verify the cache of the project in the working directory."""
    damaged = remove_damaged(CACHE)
    for file in damaged:
        print(f"{file} was damaged and is removed")
    if damaged:
        sys.exit("run dvc repro: it makes what is missing, or dvc fetch if a remote has it")
    print(f"all objects in {CACHE} are whole")


if __name__ == "__main__":
    main()
