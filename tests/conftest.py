"""Of all tests."""

import signal
from importlib.util import find_spec

from browser import browser  # noqa: F401

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that:
# the tests that send it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine with a GPU may have no DVC: the library's tests run there without it.
collect_ignore = [] if find_spec("dvc") else ["pipeline", "unit/test_makefile.py"]


def pytest_report_header() -> str | None:
    """Say what is left out."""
    return f"no DVC, hence without {', '.join(collect_ignore)}" if collect_ignore else None
