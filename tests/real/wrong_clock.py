"""`python -m tests.real.wrong_clock FILE …` is `rube …` with a wall clock that is wrong by the seconds in the file.

As Rube's own code reads it: the libraries below keep the right one, and monotonic time, for which nothing jumps, too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rube.cli.main import main


def misread(file: Path) -> None:
    """Moves this process's clock by what the file says at the time, from now on."""
    right_ns = time.time_ns
    time.time_ns = lambda: right_ns() + int(file.read_text()) * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9


if __name__ == "__main__":
    misread(Path(sys.argv.pop(1)))
    main()
