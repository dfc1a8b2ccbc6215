"""Independent trainings side by side: one-thread processes on a CPU, one after the other on a GPU.

On a CPU two one-thread processes do 1.3 to 2 times the work of one two-thread process, and a
training's result does not depend on how many of them run at once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import partial
from typing import Any

import torch
from tqdm import tqdm

from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.process.workers import CONTEXT, n_cores, worker_pool

_steps_done: Any = None  # set in each worker: a shared counter of finished steps


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    n_steps: int,
    description: str,
    ranks: Ranks = ALONE,
) -> list[Any]:
    """Return ``[function(*job, on_step) for job in jobs]``, computed side by side.

    Job i is rank i's, modulo their number, and the same as on one process. Were there more ranks
    than jobs, some would idle: then all ranks do each job together.

    Parameters
    ----------
    function
        A module-level function; it calls its last argument, ``on_step(n)``, after every `n` steps.
        With fewer jobs than ranks, it gets the ranks as one more argument, ``ranks=``.
    jobs
        Arguments, one tuple a job. A job that fails stops the others and its error is raised.
    n_steps
        Steps of all jobs together, for the progress bar.
    description
        Label of the bar, which is silent off a terminal.
    ranks
        Every rank returns all results, which JSON must be able to hold if there are several ranks.
    """
    if ranks.n_ranks == 1:
        return _side_by_side(function, jobs, n_steps, description, ranks)
    if len(jobs) < ranks.n_ranks:
        together = partial(function, ranks=ranks)
        with _bar(n_steps, description, ranks) as bar:
            return [together(*job, bar.update) for job in jobs]
    dealt = [jobs[rank :: ranks.n_ranks] for rank in range(ranks.n_ranks)]
    mine = dealt[ranks.rank]
    n_steps = round(n_steps * len(mine) / len(jobs))
    gathered = ranks.gather_json(_side_by_side(function, mine, n_steps, description, ranks))
    return [gathered[index % ranks.n_ranks][index // ranks.n_ranks] for index in range(len(jobs))]


def _bar(n_steps: int, description: str, ranks: Ranks) -> tqdm:
    silent = None if ranks.is_first else True
    return tqdm(total=n_steps, desc=description, unit="step", disable=silent)


def _side_by_side(
    function: Callable[..., Any],
    jobs: Sequence[tuple],
    n_steps: int,
    description: str,
    ranks: Ranks,
) -> list[Any]:
    if not jobs:
        return []
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # before any parallel region, so that a fork is safe
    # Of this rank alone, which has its part of the cores.
    n_workers = max(1, n_side_by_side(len(jobs) * ranks.n_local) // ranks.n_local)
    with _bar(n_steps, description, ranks) as bar:
        if n_workers == 1:
            return [function(*job, bar.update) for job in jobs]
        counter = CONTEXT.Value("q", 0)
        with worker_pool(n_workers, _start_worker, counter) as pool:
            futures = [pool.submit(_run, function, job) for job in jobs]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.5)
                bar.update(counter.value - bar.n)
                for future in done:
                    future.result()
            return [future.result() for future in futures]


def n_side_by_side(n_jobs: int, ranks: Ranks = ALONE) -> int:
    """Return how many of so many jobs run at once on this machine, or on this GPU."""
    if torch.cuda.is_available():
        return 1
    # With fewer jobs than ranks each rank has its part in every job.
    return max(ranks.n_local, min(n_cores(), n_jobs))


def _start_worker(counter: Any) -> None:
    global _steps_done
    _steps_done = counter
    torch.set_num_threads(1)


def _run(function: Callable[..., Any], job: tuple) -> Any:
    return function(*job, _count_steps)


def _count_steps(n: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += n
