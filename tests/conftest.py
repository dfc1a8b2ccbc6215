"""Of all tests."""

import signal
from importlib.util import find_spec

import pytest

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that:
# the tests that send it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that lends a GPU has none (docs/GPU.md).
WITHOUT_DVC = find_spec("dvc") is None
if WITHOUT_DVC:
    collect_ignore = ["pipeline", "unit/test_makefile.py", "unit/test_verify_cache.py"]


def pytest_report_header() -> str | None:
    """Say what is left out."""
    return f"no DVC, hence without {', '.join(collect_ignore)}" if WITHOUT_DVC else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by what they set up, the demo or their file's own: a group stays in a process."""
    for item in items:
        group = "demo" if "demo" in item.fixturenames else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
