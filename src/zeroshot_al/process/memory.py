"""Whether what is about to be done fits in memory, told before it begins.

Without this a pool that is too large ends, hours later or at once, in the system's killing of the
process, without a word.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from zeroshot_al.base.errors import InputError

if TYPE_CHECKING:
    import torch

GIB = 2**30


def check_memory(
    n_bytes: int, what: str, remedy: str, device: "torch.device | None" = None
) -> None:
    """Check that there is memory for something; where nobody can tell, there is.

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
    if available is not None and n_bytes > available:
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


def available_memory(root: str | Path = "/") -> int | None:
    """Return how many more bytes this process may use; None where the system does not tell.

    The least of what the machine has, of what the control groups allow, versions 1 and 2 (a
    container, a batch scheduler), and of the process's own limit (`ulimit -v`).

    Parameters
    ----------
    root : path
        Where /proc and /sys are.

    References
    ----------
    Linux, Documentation/filesystems/proc.rst (MemAvailable) and
    Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current, memory.stat).
    """
    root = Path(root)
    found = [_of_machine(root), _of_address_space(root), *_of_control_groups(root)]
    known = [n_bytes for n_bytes in found if n_bytes is not None]
    return max(0, min(known)) if known else None


def _of_machine(root: Path) -> int | None:
    kib = _table(root / "proc/meminfo").get("MemAvailable:")
    return None if kib is None else kib * 1024


def _of_address_space(root: Path) -> int | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    in_use = _table(root / "proc/self/status").get("VmSize:")
    if limit == resource.RLIM_INFINITY or in_use is None:
        return None
    return limit - in_use * 1024


def _of_control_groups(root: Path) -> list[int | None]:
    """Return what is left in each of the groups that this process is in, up to the outermost."""
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
            found.append(_left_in_group(directory, *names))
    return found


def _left_in_group(directory: Path, limit: str, usage: str, cached: str) -> int | None:
    texts = [_text(directory / name).strip() for name in (limit, usage)]
    if not all(text.isdecimal() for text in texts):  # absent, or "max"
        return None
    # Files that were read a while ago count as used, and are dropped when memory is short.
    droppable = _table(directory / "memory.stat").get(cached, 0)
    return int(texts[0]) - int(texts[1]) + droppable


def _table(path: Path) -> dict[str, int]:
    """Return the first number behind each name."""
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
