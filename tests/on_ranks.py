"""Run a function on several ranks of this machine, connected by gloo."""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tiny_training import HAS_CUDA
from zeroshot_al.ranks import Ranks


def on_ranks(n_ranks: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Return ``function(*args, ranks)`` of each rank, by rank; an exception in its place."""
    context = multiprocessing.get_context("spawn" if HAS_CUDA else "fork")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        processes = [
            context.Process(target=_run, args=(function, args, rank, n_ranks, directory))
            for rank in range(n_ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * n_ranks
        files = [directory / f"{rank}.pt" for rank in range(n_ranks)]
        return [torch.load(file, weights_only=False) for file in files]


def _run(function: Callable[..., Any], args: tuple, rank: int, n_ranks: int, directory: Path):
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), n_ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_ranks)
    try:
        result = function(*args, Ranks(rank, n_ranks, n_ranks))
    except Exception as error:
        result = error
    torch.save(result, directory / f"{rank}.pt")
    dist.destroy_process_group()
