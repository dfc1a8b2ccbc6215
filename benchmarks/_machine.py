"""What every benchmark tells of the machine that it ran on. Standard library only."""

import os
import platform
from pathlib import Path


def cpu_flags() -> set[str]:
    """Return the CPU's features as Linux tells them, else nothing."""
    return set(_cpuinfo().split("flags", 1)[-1].split("\n", 1)[0].split())


def machine() -> dict:
    """Return CPU, cores, Python and the load before the benchmark."""
    models = [
        line.split(":")[1].strip() for line in _cpuinfo().splitlines() if "model name" in line
    ]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.exists() else ""
