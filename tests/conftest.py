"""Of all tests."""

import signal

import pytest

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that:
# the tests that send it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by what they set up, the demo or their file's own: a group stays in a process."""
    for item in items:
        group = "demo" if "demo" in item.fixturenames else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
