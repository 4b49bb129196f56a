"""A scenario over an etcd: the same run has the same trace, whatever Python's hashes are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ETCD = str(Path(__file__).parents[2] / "scenarios" / "etcd.yaml")
PROGRAM = """
import sys
from rube.sim.scenario import Simulation, load
with Simulation(load(sys.argv[1])) as simulation:
    print(simulation.run().trace_sha256)
"""


def test_the_trace_is_the_same_under_other_hash_seeds() -> None:
    hashes = set()
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, ETCD],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        hashes.add(done.stdout)
    assert len(hashes) == 1
