"""Run a function on several ranks of this machine, connected by gloo."""

import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tiny_training import HAS_CUDA
from zeroshot_al.base.ranks import Ranks


def on_ranks(
    n_ranks: int, function: Callable[..., Any], *args: Any, limit_s: float = 600.0
) -> list[Any]:
    """Return ``function(*args, ranks)`` of each rank, by rank.

    Ranks that fail print why; those that do not end are killed. Both fail the test.
    """
    context = multiprocessing.get_context("spawn" if HAS_CUDA else "fork")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        processes = [
            context.Process(target=_run, args=(function, args, rank, n_ranks, directory))
            for rank in range(n_ranks)
        ]
        deadline = time.monotonic() + limit_s
        for process in processes:
            process.start()
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        hung = [rank for rank, process in enumerate(processes) if process.is_alive()]
        for process in processes:
            process.kill()
            process.join()
        assert not hung, f"ranks {hung} of {n_ranks} were still running after {limit_s} s"
        assert [process.exitcode for process in processes] == [0] * n_ranks
        files = [directory / f"{rank}.pickle" for rank in range(n_ranks)]
        return [pickle.loads(file.read_bytes()) for file in files]


def _run(function: Callable[..., Any], args: tuple, rank: int, n_ranks: int, directory: Path):
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), n_ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_ranks)
    result = function(*args, Ranks(rank, n_ranks, n_ranks))
    (directory / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    dist.destroy_process_group()
