"""A command's seconds and the memory of all its processes together. Standard library, Linux."""

import os
import subprocess
import sys
import time
from pathlib import Path


def measure(command: list[str], poll_s: float = 0.5, **options: object) -> dict:
    """Run a command, which must succeed, and return what it took; memory is read every `poll_s`.

    Returns
    -------
    dict
        `seconds` by the clock, `cpu_s` of all processes, and the peaks of `anonymous_mib`, which is
        what the processes need, and of `mapped_mib`, with their share of mapped files, which the
        system takes back when it is short; `output`, what it printed.
    """
    start, before = time.perf_counter(), os.times()
    anonymous = mapped = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        while process.poll() is None:
            sizes = [proportional_mib(pid) for pid in (process.pid, *descendants(process.pid))]
            anonymous = max(anonymous, sum(size[0] for size in sizes))
            mapped = max(mapped, sum(size[1] for size in sizes))
            time.sleep(poll_s)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed")
        after = os.times()
        return {
            "seconds": time.perf_counter() - start,
            "cpu_s": sum(after[2:4]) - sum(before[2:4]),
            "anonymous_mib": anonymous,
            "mapped_mib": mapped,
            "output": process.stdout.read(),
        }


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found + [below for child in found for below in descendants(child)]


def proportional_mib(pid: int) -> tuple[float, float]:
    """Return a process's share of memory, so that what processes share is counted once."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has just ended
        return 0.0, 0.0
    kib = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:]}
    return kib["Pss_Anon"] / 1024, kib["Pss"] / 1024
