"""Run a function on several ranks, as processes of this machine."""

import multiprocessing
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from zeroshot_al.ranks import Ranks

PATIENCE = timedelta(seconds=120)  # for a rank that waits for one which does not come


def on_ranks(n_ranks: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Return ``function(*args, ranks)`` of each rank; a module-level function."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        queue = context.Queue()
        processes = [
            context.Process(target=_be, args=(Ranks(rank, n_ranks), folder, queue, function, args))
            for rank in range(n_ranks)
        ]
        for process in processes:
            process.start()
        answers = dict(queue.get(timeout=PATIENCE.seconds) for _ in processes)
        for process in processes:
            process.join()
    failed = [answer for answer in answers.values() if isinstance(answer, _Failure)]
    assert not failed, "\n".join(failure.text for failure in failed)
    return [answers[rank] for rank in range(n_ranks)]


class _Failure:
    def __init__(self, text: str):
        self.text = text


def _be(ranks: Ranks, folder: str, queue: Any, function: Callable[..., Any], args: tuple) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meeting", rank=ranks.rank,
            world_size=ranks.n_ranks, timeout=PATIENCE,
        )  # fmt: skip
        queue.put((ranks.rank, function(*args, ranks)))
        dist.destroy_process_group()
    except BaseException:
        queue.put((ranks.rank, _Failure(traceback.format_exc())))
        raise
