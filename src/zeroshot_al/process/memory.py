"""What a process does with memory: whether it is enough, and that it is kept for the next step.

Without the check a pool that is too large ends, hours later or at once, in the system's killing of
the process, without a word.
"""

import ctypes
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from zeroshot_al.base.errors import InputError

if TYPE_CHECKING:
    import torch

GIB = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep up to 1 GiB of freed memory, where it would return every large tensor's.

    A training step on a CPU allocates the same tensors as the one before; the system clears each
    page that it gives anew. Where the C library is another one, nothing is done.

    References
    ----------
    The GNU C Library manual, 3.2.3.7, Malloc Tunable Parameters.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # as in malloc.h
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(trim_threshold, GIB)
        mallopt(top_pad, GIB // 16)
        mallopt(mmap_threshold, GIB // 4)


def check_memory(
    n_bytes: int, what: str, remedy: str, device: "torch.device | None" = None
) -> None:
    """Check that there is memory for something.

    Parameters
    ----------
    n_bytes : int
        What it needs beside what is in use, all processes together.
    what, remedy : str
        For the sentence: the work, and what to change.
    device : torch.device, optional
        Where; this machine's own memory without it.

    Raises
    ------
    InputError
        If less is available.
    """
    on_gpu = device is not None and device.type == "cuda"
    available = available_gpu_memory(device) if on_gpu else available_memory()
    if n_bytes > available:
        kind = "GPU memory" if on_gpu else "memory"
        size, unit = (GIB, "GiB") if n_bytes >= GIB else (GIB / 1024, "MiB")
        raise InputError(
            f"{what} needs {n_bytes / size:,.1f} {unit} of {kind} and {available / size:,.1f} are "
            f"available; {remedy}"
        )


def images_text(n_images: int, shape: tuple[int, ...]) -> str:
    """Name images of (height, width, 3) for a sentence of `check_memory`."""
    return f"{n_images:,} images of {shape[1]} x {shape[0]} pixels"


def available_gpu_memory(device: "torch.device") -> int:
    """Return the free bytes of a CUDA device, those that PyTorch keeps for us among them."""
    import torch

    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def available_memory(root: str | Path = "/") -> int:
    """Return how many more bytes this process may use.

    The least of what the machine has, of the process's own limit (`ulimit -v`), and of what the
    control groups under `root` allow, versions 1 and 2 (a container, a batch scheduler).

    References
    ----------
    Linux, Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current, memory.stat).
    """
    found = [psutil.virtual_memory().available, *_of_control_groups(Path(root))]
    if hasattr(psutil, "RLIMIT_AS"):  # Linux
        process = psutil.Process()
        limit = process.rlimit(psutil.RLIMIT_AS)[0]
        if limit != psutil.RLIM_INFINITY:
            found.append(limit - process.memory_info().vms)
    return max(0, min(found))


def _of_control_groups(root: Path) -> list[int]:
    """Return what is left in each limited group that this process is in, up to the outermost."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be that of the host; its own group is then the base.
        group = base / path.strip("/")
        for directory in (group, *(g for g in group.parents if g.is_relative_to(base))):
            limit, usage = (_text(directory / name).strip() for name in names[:2])
            if limit.isdecimal() and usage.isdecimal():  # neither absent nor "max"
                # Files that were read a while ago count as used, and are dropped when memory is
                # short.
                lines = map(str.split, _text(directory / "memory.stat").splitlines())
                droppable = sum(int(words[1]) for words in lines if words[0] == names[2])
                found.append(int(limit) - int(usage) + droppable)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
