"""Training state on disk: found again only by the same params, inputs and code."""

import hashlib
import json
import logging
import os
import shutil
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor

from zeroshot_al.base.errors import InputError
from zeroshot_al.base.files import atomic_path, read_json
from zeroshot_al.base.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

_SPACING = 50  # times what a save took, to the next: at most a fiftieth of the time


def checkpoint_root() -> Path:
    """Return where checkpoints lie: ``$ZEROSHOT_AL_CHECKPOINTS``, else ``.checkpoints``.

    DVC runs `--temp` and queued experiments in a copy under ``.dvc/tmp/exps``, which is removed
    when they fail: theirs lie in the project that the copy was made of.
    """
    if given := os.environ.get("ZEROSHOT_AL_CHECKPOINTS"):
        return Path(given)
    for directory in Path.cwd().parents:
        if directory.parts[-3:] == (".dvc", "tmp", "exps"):
            return directory.parents[2] / ".checkpoints"
    return Path(".checkpoints")


def fingerprint(*inputs: object) -> str:
    """Hash params, arrays and the code in use to 24 hex digits.

    The code is the source of every imported module of this project but the room `process`, as in
    dvc.yaml, and the version of torch.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    for name in sorted(sys.modules):
        # By its name: `__package__` is this room alone.
        if name.split(".")[0] == "zeroshot_al" and name.split(".")[1:2] != ["process"]:
            file = sys.modules[name].__file__
            digest.update(Path(file).read_bytes() if file else b"")
    for value in inputs:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            plain = asdict(value) if is_dataclass(value) else value
            digest.update(json.dumps(plain, sort_keys=True).encode())
        digest.update(b"|")
    return digest.hexdigest()[:24]


def plain_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors takes them: without a graph, and contiguous."""
    return {key: value.detach().contiguous() for key, value in tensors.items()}


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_path(path) as temporary:
        # Written by Python, whose error for a full disk has a number; safetensors' own has not.
        content = serialise(plain_tensors(tensors), metadata=metadata and dict(metadata))
        temporary.write_bytes(content)


class Checkpoint:
    """The state of one training in one safetensors file of a directory of its own.

    Saves closer together than `every_s`, or than fifty times what the last one took, are skipped,
    so that short epochs do not spend their time on the disk.
    """

    def __init__(self, directory: Path, every_s: float = 10.0) -> None:
        self._file = directory / "state.safetensors"
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def save(
        self,
        step: int,
        modules: dict[str, torch.nn.Module],
        optimizer: torch.optim.Optimizer,
        *,
        force: bool = False,
    ) -> None:
        """Save the state after `step` steps, unless the last save is fresh."""
        if not force and time.monotonic() - self._saved_at < self._every_s:
            return
        tensors = _tensors(modules)
        for index, slots in optimizer.state_dict()["state"].items():
            for slot, value in slots.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{index}.{slot}"] = value
        start = time.monotonic()
        tensors = plain_tensors(tensors)
        metadata = {"step": str(step), "crc32": _checksum(tensors)}
        write_tensors(self._file, tensors, metadata)
        self._saved_at = time.monotonic()
        if self._every_s:
            self._every_s = max(self._every_s, _SPACING * (self._saved_at - start))

    def restore(
        self,
        modules: dict[str, torch.nn.Module],
        optimizer: torch.optim.Optimizer,
        ranks: Ranks = ALONE,
    ) -> int:
        """Load the state in place and return the number of steps done, 0 without a checkpoint.

        All ranks load the first one's file, which any number of ranks may have written. A file
        that cannot be read or has changed since is discarded with a warning.
        """
        if not ranks.share_json(self._file.exists()):
            return 0
        content = ranks.share_bytes(self._file.read_bytes() if ranks.is_first else b"")
        try:
            tensors = deserialise(content)
            # The header is JSON, behind its length; safetensors reads the metadata of files alone.
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
            metadata = header["__metadata__"]
            step = int(metadata["step"])
            if metadata["crc32"] != _checksum(tensors):
                raise ValueError("its checksum is wrong")
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            if ranks.is_first:
                _discard_unreadable(self._file, error)
            return 0
        with torch.no_grad():
            for key, target in _tensors(modules).items():
                target.copy_(tensors[key])
        state = optimizer.state_dict()
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, slot = key.split(".")
                weight = weights[int(index)]
                # In the weight's own memory format: the fused optimiser walks both as raw memory.
                if value.shape == weight.shape:
                    value = torch.empty_like(weight).copy_(value)
                state["state"].setdefault(int(index), {})[slot] = value
        optimizer.load_state_dict(state)
        logger.info("continuing at step %d from %s", step, self._file)
        return step


def _tensors(modules: dict[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Return parameters and buffers, also those that a state dict leaves out (MoCo's queue)."""
    return {
        f"{name}.{key}": tensor
        for name, module in modules.items()
        for key, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the CRC-32 of all bytes: a training that goes on from a wrong bit ends somewhere."""
    total = 0
    for key in sorted(tensors):
        flat = tensors[key].detach().contiguous().cpu().reshape(-1)
        total = zlib.crc32(flat.view(torch.uint8).numpy(), zlib.crc32(key.encode(), total))
    return f"{total:08x}"


def read_saved(path: Path, ranks: Ranks = ALONE) -> dict | None:
    """Read the JSON that a training saved beside its state, on the first rank for all; else None.

    A file that cannot be read is discarded with a warning: to go on without it costs some steps, to
    stop would leave the user to find and remove it.
    """
    saved = None
    if ranks.is_first and path.exists():
        try:
            saved = read_json(path)
        except InputError as error:
            _discard_unreadable(path, error)
    return ranks.share_json(saved)


def _discard_unreadable(file: Path, error: Exception) -> None:
    logger.warning("discarding the unreadable checkpoint %s (%s)", file, error)
    file.unlink()


def discard(directory: Path) -> None:
    """Remove the checkpoints of a stage that has written its outs."""
    shutil.rmtree(directory, ignore_errors=True)
