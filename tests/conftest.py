"""Of all tests."""

import signal

# A shell starts what it puts into the background with Ctrl-C ignored, and children inherit that:
# the tests that send it would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
