"""How many CPU cores there are for us; apart from `runtime`, for the stages that need no torch."""

import os


def n_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    # The affinity is what a container or a scheduler grants; macOS does not tell it.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
