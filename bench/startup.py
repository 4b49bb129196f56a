"""The processor time that a command takes to start: medians of user and system time, with a server for those that ask.

python -m bench.startup [--runs 20]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rube.cli.local import local_cluster

BIN = Path(sys.executable).parent
HELLO = Path(__file__).parents[1] / "examples" / "01-hello-unit" / "hello.textproto"
COMMANDS = (
    "python -c pass",
    "ructl --version",
    "ructl --help",
    "ructl get --help",
    "ructl get -t Unit -n default hello",
    "ructl list -t Unit",
    "rube --help",
    "rube sim --help",
    "rube sim --list",
    "rube apiserver --help",
    "rubelet --help",
)


def processor_ms(command: list[str], server: str) -> float:
    """User and system time of one run, in milliseconds."""
    process = subprocess.Popen(
        [str(BIN / command[0]), *command[1:]],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "RUBE_SERVER": server},
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return 1000 * (used.ru_utime + used.ru_stime)


async def main(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="rube-bench-") as directory:
        async with local_cluster(Path(directory)) as cluster:
            await asyncio.to_thread(processor_ms, ["ructl", "put", str(HELLO)], cluster.address)
            print(f"| command | ms of processor time, median of {runs} | smallest |\n|---|---|---|")
            for command in COMMANDS:
                words = command.split()
                found = [await asyncio.to_thread(processor_ms, words, cluster.address) for _ in range(runs)]
                print(f"| `{command}` | {statistics.median(found):.0f} | {min(found):.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    asyncio.run(main(parser.parse_args().runs))
