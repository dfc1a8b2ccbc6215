"""Compare every object in DVC's cache with the hash that it is named by, and remove damaged ones.

    python scripts/verify_cache.py        `make verify`

DVC takes a read-only object in its cache for whole: one that the disk has damaged is checked out in
silence, and `dvc status` and `dvc repro` see nothing. Once it is removed, `dvc repro` makes it
again, or `dvc fetch` brings it from a remote. Exits with 1 if there was a damaged one.
"""

import hashlib
import re
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from tqdm import tqdm

# The rest of an md5 behind its directory's two digits. DVC writes an object beside it, under
# another name, and renames it.
OBJECT = re.compile(r"[0-9a-f]{30}(\.dir)?")


def remove_damaged(cache: Path) -> tuple[list[Path], int]:
    """Remove the objects whose md5 is not their name.

    Returns
    -------
    damaged : list of Path
        What was removed.
    n_objects : int
        How many objects were compared.
    """
    objects = [file for file in sorted(cache.glob("??/*")) if OBJECT.fullmatch(file.name)]
    damaged = []
    for file in tqdm(objects, "verify", unit="file", disable=None):
        with open(file, "rb") as content:
            digest = hashlib.file_digest(content, "md5").hexdigest()
        if file.parent.name + file.name.removesuffix(".dir") != digest:
            file.unlink()
            damaged.append(file)
    return damaged, len(objects)


def main() -> None:
    """Verify the cache of the project in the working directory."""
    try:
        repo = Repo()
        cache = Path(repo.cache.local.path)
        if not cache.is_dir():
            sys.exit(f"verify_cache: there is no cache at {cache}; run dvc repro or dvc fetch")
        with repo.lock:  # DVC holds it while it writes objects
            damaged, n_objects = remove_damaged(cache)
    except LockError:
        sys.exit("verify_cache: another DVC is writing; run again when it has ended")
    except DvcException as error:
        sys.exit(f"verify_cache: {error}")
    for file in damaged:
        print(f"{file} was damaged and is removed")
    if damaged:
        sys.exit(
            f"verify_cache: {len(damaged)} of {n_objects} objects were damaged; run dvc repro, "
            "which makes what is missing, or dvc fetch if a remote has it"
        )
    print(f"all {n_objects} objects in {cache} are whole")


if __name__ == "__main__":
    main()
