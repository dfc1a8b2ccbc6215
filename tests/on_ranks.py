"""Run a function on several ranks of this machine, connected by gloo."""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import save_file

from tiny_training import HAS_CUDA
from zeroshot_al.base.ranks import Ranks


def on_ranks(
    n_ranks: int, function: Callable[..., Any], *args: Any, limit_s: float = 600.0
) -> list[Any]:
    """Return ``function(*args, ranks)`` of each rank, by rank.

    It may hold what JSON can, tensors and arrays. Ranks that fail print why; those that do not
    end are killed. Both fail the test.
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
        return [_read(directory / f"{rank}.safetensors") for rank in range(n_ranks)]


def _run(function: Callable[..., Any], args: tuple, rank: int, n_ranks: int, directory: Path):
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), n_ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=n_ranks)
    _write(function(*args, Ranks(rank, n_ranks, n_ranks)), directory / f"{rank}.safetensors")
    dist.destroy_process_group()


def _write(result: Any, path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}

    def aside(value: torch.Tensor | np.ndarray) -> dict[str, str]:
        kind = "array" if isinstance(value, np.ndarray) else "tensor"
        name = str(len(tensors))
        tensors[name] = torch.as_tensor(value).detach().clone(memory_format=torch.contiguous_format)
        return {kind: name}

    save_file(tensors, path, metadata={"result": json.dumps(result, default=aside)})


def _read(path: Path) -> Any:
    with safe_open(path, "pt") as file:

        def whole(value: dict) -> Any:
            match value:
                case {"tensor": str(name)}:
                    return file.get_tensor(name)
                case {"array": str(name)}:
                    return file.get_tensor(name).numpy()
            return value

        return json.loads(file.metadata()["result"], object_hook=whole)
