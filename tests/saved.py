"""The checkpoints of a stage that runs, as seen from outside."""

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

# Runs a stage's script with a checkpoint at every chance, rather than every ten seconds.
SAVE_AT_EVERY_CHANCE = """
import runpy, sys
sys.path.insert(0, "src")
from zeroshot_al.engine.checkpoint import Checkpoint
Checkpoint.__init__.__defaults__ = (0.0,)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Far more than any test's training takes, on a busy machine too.
PATIENCE_S = 300


def saves(directory: Path, name: str = "state.safetensors") -> set[tuple[Path, int]]:
    """Return the files of a name and when each was written."""
    found = set()
    for folder, _, files in os.walk(directory):  # which minds no folder that goes meanwhile
        if name in files:
            file = Path(folder, name)
            with suppress(FileNotFoundError):  # discarded in between
                found.add((file, file.stat().st_mtime_ns))
    return found


def wait_for_saves(
    process: subprocess.Popen, directory: Path, n_saves: int, name: str = "state.safetensors"
) -> None:
    """Return after so many new files of the name, or when the process has ended.

    Raises
    ------
    TimeoutError
        If neither comes within five minutes.
    """
    until = time.monotonic() + PATIENCE_S
    known, seen = saves(directory, name), set()
    while len(seen) < n_saves and process.poll() is None:
        if time.monotonic() > until:
            raise TimeoutError(f"{len(seen)} of {n_saves} {name} in {directory}")
        seen |= saves(directory, name) - known
        time.sleep(0.005)
