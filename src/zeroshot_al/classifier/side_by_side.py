"""Independent trainings side by side: one-thread processes on a CPU, one after the other on a GPU.

On a CPU two one-thread processes do 1.3 to 2 times the work of one two-thread process, and a
training's result does not depend on how many of them run at once.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from zeroshot_al.base.pool import Pool
from zeroshot_al.base.ranks import ALONE, Ranks
from zeroshot_al.classifier.classifier import ClassifierParams
from zeroshot_al.classifier.training import OnStep
from zeroshot_al.engine.checkpoint import checkpoint_root, discard, fingerprint
from zeroshot_al.engine.runtime import pick_device
from zeroshot_al.process.memory import check_memory, images_text
from zeroshot_al.process.workers import CONTEXT, n_cores, worker_pool

_steps_done: Any = None  # set in each worker: a shared counter of finished steps


class Trainable(Protocol):
    """What can be run side by side: a dataclass that JSON can hold, such as `Training`."""

    params: ClassifierParams
    n_steps: int
    n_images: int

    def run(self, checkpoint_dir: Path, on_step: OnStep, ranks: Ranks) -> Any:
        """Return what JSON can hold; call ``on_step(n)`` after every `n` steps."""


@contextmanager
def run_trainings(
    stage: str,
    trainings: Mapping[Hashable, Trainable],
    pool: Pool,
    description: str,
    ranks: Ranks = ALONE,
) -> Iterator[dict]:
    """Run a stage's trainings, and keep their checkpoints until the block has ended well.

    Yields
    ------
    dict
        What each training on `pool` returned, by its key; on every rank.

    Raises
    ------
    InputError
        If the images of all trainings that run at once do not fit into memory.
    """
    jobs = list(trainings.values())
    _check_memory(jobs, pool.train_images.shape[1:], ranks)
    arrays = [pool.train_images, pool.test_images]
    arrays += [pool.train_labels, pool.test_labels] if pool.is_labelled else []
    directory = checkpoint_root() / stage / fingerprint(*jobs, *arrays)
    yield dict(zip(trainings, side_by_side(jobs, directory, description, ranks), strict=True))
    if ranks.is_first:
        discard(directory)


def _check_memory(trainings: Sequence[Trainable], shape: tuple[int, ...], ranks: Ranks) -> None:
    if not trainings:
        return
    n_images = max(training.n_images for training in trainings)
    pad_px = trainings[0].params.pad_px
    height, width = (side + 2 * pad_px for side in shape[:2])
    n_bytes = n_images * 3 * (shape[0] * shape[1] + height * width)  # as they are, and padded
    n = n_at_once(len(trainings), ranks)
    check_memory(
        n * n_bytes,
        f"training on {images_text(n_images, shape)}, {n} at once,",
        "lower data.size_px or the budgets in params.yaml or give more memory",
        pick_device(),
    )


def n_at_once(n_trainings: int, ranks: Ranks = ALONE) -> int:
    """Return how many of so many trainings run at once on this machine, or on this GPU."""
    if torch.cuda.is_available():
        return 1
    # With fewer trainings than ranks each rank has its part in every one.
    return max(ranks.n_local, min(n_cores(), n_trainings))


def side_by_side(
    trainings: Sequence[Trainable], directory: Path, description: str, ranks: Ranks = ALONE
) -> list:
    """Return what each training returns, in their order; the first error ends the others.

    Training i is rank i's, modulo their number, and the same as on one process. Were there more
    ranks than trainings, some would idle: then all ranks share each training.
    """
    jobs = [(training, directory / str(i)) for i, training in enumerate(trainings)]
    if len(jobs) < ranks.n_ranks:
        with _bar(jobs, description, ranks) as bar:
            return [training.run(checkpoint, bar.update, ranks) for training, checkpoint in jobs]
    mine = jobs[ranks.rank :: ranks.n_ranks]
    with ranks.working_apart():
        results = _run_alone(mine, description, ranks)
    if ranks.n_ranks == 1:
        return results
    gathered = ranks.gather_json(results)
    return [gathered[i % ranks.n_ranks][i // ranks.n_ranks] for i in range(len(jobs))]


def _bar(jobs: Sequence[tuple[Trainable, Path]], description: str, ranks: Ranks) -> tqdm:
    n_steps = sum(training.n_steps for training, _ in jobs)
    silent = None if ranks.is_first else True
    return tqdm(total=n_steps, desc=description, unit="step", disable=silent)


def _run_alone(jobs: Sequence[tuple[Trainable, Path]], description: str, ranks: Ranks) -> list:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # before any parallel region, so that a fork is safe
    # Of this rank alone, which has its part of the cores.
    n_workers = max(1, n_at_once(len(jobs) * ranks.n_local) // ranks.n_local)
    with _bar(jobs, description, ranks) as bar:
        if n_workers == 1:
            return [training.run(checkpoint, bar.update, ALONE) for training, checkpoint in jobs]
        counter = CONTEXT.Value("q", 0)
        with worker_pool(n_workers, _start_worker, counter) as pool:
            futures = [pool.submit(_run, *job) for job in jobs]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.5)
                bar.update(counter.value - bar.n)
                for future in done:
                    future.result()
            return [future.result() for future in futures]


def _start_worker(counter: Any) -> None:
    global _steps_done
    _steps_done = counter
    torch.set_num_threads(1)


def _run(training: Trainable, checkpoint_dir: Path) -> Any:
    return training.run(checkpoint_dir, _count_steps, ALONE)


def _count_steps(n: int) -> None:
    with _steps_done.get_lock():
        _steps_done.value += n
