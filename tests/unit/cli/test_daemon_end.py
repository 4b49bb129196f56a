"""A daemon's process ends, whatever hangs."""

from __future__ import annotations

import asyncio
import sys
import time

from rube.cli.local import run

PROGRAM = """
import asyncio, os, sys
from rube.cli import daemon
daemon.EXIT_S_MAX = 1.0
handles = os.pipe()

async def main(stop):
    if sys.argv[1] == "hangs":
        asyncio.get_running_loop().run_in_executor(None, os.read, handles[0], 1)
        await asyncio.sleep(0.1)
    if sys.argv[1] == "fails":
        raise OSError(24, "Too many open files")

code = daemon.run_daemon("test", main, log_level="info")
print("returned", code)
sys.exit(code)
"""


def ended(how: str) -> tuple[int, str, float]:
    begun_s = time.monotonic()
    code, output = asyncio.run(run([sys.executable, "-c", PROGRAM, how]))
    return code, output, time.monotonic() - begun_s


def test_a_thread_that_hangs_does_not_keep_it() -> None:
    code, output, took_s = ended("hangs")
    assert code == 1
    assert "a system call hangs" in output
    assert took_s < 60


def test_one_that_ends_well_is_left_alone() -> None:
    code, output, _ = ended("well")
    assert (code, output) == (0, "returned 0\n")


def test_too_many_open_files_are_told_with_the_remedy() -> None:
    code, output, _ = ended("fails")
    assert code == 1
    assert "Too many open files: this process may open" in output
    assert "LimitNOFILE=" in output
