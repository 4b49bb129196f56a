"""A scenario over an etcd: the same run has the same trace, whatever Python's hashes are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ETCD = str(Path(__file__).parents[2] / "scenarios" / "etcd.yaml")
PROGRAM = """
import sys
from rube.sim.scenario import Simulation, load
with Simulation(load(sys.argv[1])) as simulation:
    print(simulation.run().trace_sha256)
"""


@pytest.mark.timeout(300)
def test_the_trace_is_the_same_under_other_hash_seeds() -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, ETCD],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for hash_seed in ("0", "1")
    ]
    hashes = [run.communicate(timeout=280)[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(hashes[0]) == 64
    assert hashes[0] == hashes[1]
