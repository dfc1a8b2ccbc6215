"""Processes side by side that decode image files, and what is known when one of them crashes.

Processes rather than threads: for small images Pillow holds the interpreter's lock most of the
time, and two threads decode fewer than one (5,100/s and 7,800/s, PNGs of 32 x 32).
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from zeroshot_al.base.errors import InputError
from zeroshot_al.process.workers import CONTEXT, n_cores, worker_pool


@dataclass(frozen=True)
class _Files:
    """What every worker knows from its start."""

    root: str
    paths: Sequence[str]
    reading: Any  # a shared array without a lock: the file that each worker is at, or -1
    n_started: Any

    def full_path(self, index: int) -> str:
        return os.path.join(self.root, self.paths[index])  # noqa: PTH118


_files: _Files | None = None
_slot = 0


def run_decoders(
    root: str, paths: Sequence[str], work: Callable, jobs: Sequence[Sequence[int]], verb: str
) -> Iterator[tuple]:
    """Yield what `work` returns for each job, in the order in which they are ready.

    Parameters
    ----------
    root, paths
        The paths of all files are absolute or relative to `root`.
    work : callable
        Takes a job, the numbers of some files, and returns a tuple that begins with it; goes
        through the files by `read_in_turn`.
    jobs, verb
        What to do, and what the progress bar calls it.

    Raises
    ------
    InputError
        If a file crashes a worker.
    """
    if not jobs:
        return
    n_workers = min(n_cores(), len(jobs))
    reading = CONTEXT.RawArray("q", [-1] * n_workers)
    files = _Files(root, paths, reading, CONTEXT.Value("q", 0))
    try:
        with (
            tqdm(total=sum(map(len, jobs)), desc=verb, unit="img", disable=None) as bar,
            worker_pool(n_workers, _start_worker, files) as pool,
        ):
            # Kept in no variable: what a task has returned is freed when it has been read.
            for future in as_completed([pool.submit(work, job) for job in jobs]):
                result = future.result()
                yield result
                bar.update(len(result[0]))
    except BrokenProcessPool:
        raise InputError(_crash(files)) from None


def read_in_turn(job: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield the numbers of a job's files with their paths, in a worker, and note where it is."""
    for index in job:
        _files.reading[_slot] = index
        yield index, _files.full_path(index)
    _files.reading[_slot] = -1


def _crash(files: _Files) -> str:
    suspects = [files.full_path(index) for index in files.reading if index >= 0]
    return (
        f"a decoder crashed at {' or '.join(suspects) or 'an image'}; "
        "take the file away, list its id in data.exclude (of folder and csv), or give more memory"
    )


def _start_worker(files: _Files) -> None:
    global _files, _slot
    _files = files
    with files.n_started.get_lock():
        _slot = files.n_started.value % len(files.reading)
        files.n_started.value += 1
