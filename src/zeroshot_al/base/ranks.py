"""Ranks: the processes that share one stage's work, on one machine or several.

A function that can share its work takes a `Ranks`; `ALONE`, the default everywhere, is a plain
process. Never the global state of `torch.distributed`: a training that one rank does by itself must
not wait for the others.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is.

    Parameters
    ----------
    rank, n_ranks
        With more than one, the default process group of `torch.distributed` is set up. Every
        method below is then collective: all ranks call it, in the same order.
    n_local
        How many of them share this machine.
    """

    rank: int = 0
    n_ranks: int = 1
    n_local: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes the files and reports the progress."""
        return self.rank == 0

    @contextmanager
    def working_apart(self) -> Iterator[None]:
        """Leave the block together, however long each rank works by itself in it."""
        if self.n_ranks == 1:
            yield
            return
        # Another exchange has the time limit of the default group.
        patient = dist.new_group(backend="gloo", timeout=timedelta(days=30))
        yield
        dist.barrier(patient)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every rank, by rank; all of one shape and type."""
        if self.n_ranks == 1:
            return [tensor]
        gathered = [torch.empty_like(tensor) for _ in range(self.n_ranks)]
        dist.all_gather(gathered, tensor.contiguous())
        return gathered

    def gather_with_gradient(self, tensor: Tensor) -> Tensor:
        """Return the rows of every rank, by rank, whose gradients reach the rank they are of."""
        if self.n_ranks == 1:
            return tensor
        return _Gathered.apply(tensor, self)

    def gather_rows(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every rank, by rank; the first axis may differ in length."""
        if self.n_ranks == 1:
            return [tensor]
        length = torch.tensor([len(tensor)], device=tensor.device)
        lengths = torch.cat(self.gather(length)).tolist()
        padded = tensor.new_zeros((max(lengths), *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = self.gather(padded)
        return [part[:length] for part, length in zip(parts, lengths, strict=True)]

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean over the ranks."""
        return torch.stack(self.gather(tensor)).mean(dim=0) if self.n_ranks > 1 else tensor

    def share_bytes(self, content: bytes) -> bytes:
        """Return what the first rank gives; what the others give is not used."""
        if self.n_ranks == 1:
            return content
        length = torch.tensor(len(content))
        dist.broadcast(length, 0)
        received = np.empty(int(length), dtype=np.uint8)
        if self.is_first:
            received[:] = np.frombuffer(content, dtype=np.uint8)
        dist.broadcast(torch.from_numpy(received), 0)
        return received.tobytes()

    def share_json(self, value: object) -> object:
        """Return the first rank's value, which JSON can hold."""
        if self.n_ranks == 1:
            return value
        return json.loads(self.share_bytes(json.dumps(value).encode()))

    def rows_of(self, n_rows: int) -> slice:
        """Return this rank's part of `n_rows`, in equal parts by rank."""
        part = n_rows // self.n_ranks
        return slice(self.rank * part, (self.rank + 1) * part)

    def gather_json(self, value: object) -> list:
        """Return the value of every rank, by rank: what JSON can hold, and no pickle."""
        encoded = np.frombuffer(json.dumps(value).encode(), dtype=np.uint8).copy()
        parts = self.gather_rows(torch.from_numpy(encoded))
        return [json.loads(part.numpy().tobytes()) for part in parts]


class _Gathered(torch.autograd.Function):
    """The rows of all ranks; backward, the sum of what all ranks' losses ask of one's own.

    `torch.distributed.nn.functional.all_gather` gave other gradients than one process on gloo.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, tensor: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return torch.cat(ranks.gather(tensor))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.ranks.rows_of(len(total))], None


ALONE = Ranks()
