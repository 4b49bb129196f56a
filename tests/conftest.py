"""What every test may rest on, however the tests were started."""

from __future__ import annotations

import signal

# A shell without job control lets its background commands ignore Ctrl-C, and so would every process of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)
