"""Engines that acknowledge what is not on the disk yet are found out, on the memory engine and on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rube.host import Write
from rube.sim.world.disk.log import SimLogFile
from rube.store.engines import SqliteEngine
from tests.simulation.sabotage import violated

ENGINES = ["memory", "sqlite"]


def scenario(engine: str, host: str) -> str:
    """Power is lost in the middle of one of many writes, each of which takes its time."""
    return f"""\
name: slow-disk
duration: 40s
cluster:
  engine: {engine}
  disks: {{sync: 20ms, jitter: 5ms}}
  nodes: {{count: 1}}
workload:
  observers: 1
  steps:
    - {{at: 1s, put: {{name: "web-{{i}}", count: 2, node: worker-1}}}}
    - {{at: 5s, every: 30ms, times: 100, change: {{names: [web-1, web-2]}}}}
faults:
  - {{at: 6s, for: 2s, interrupt: {{host: {host}, power_off: true, after: 8ms}}}}
expect:
  - acknowledged_writes
"""


def acknowledge_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both engines let the sync go on behind the acknowledgement."""
    shipped_sync = SimLogFile.sync
    kept: list[object] = []

    async def sync(self: SimLogFile) -> None:
        kept.append(asyncio.create_task(shipped_sync(self)))

    async def commit(self: SqliteEngine, batch: Sequence[Write]) -> None:
        kept.append(asyncio.get_running_loop().run_in_executor(self._thread, self._write, batch))

    monkeypatch.setattr(SimLogFile, "sync", sync)
    monkeypatch.setattr(SqliteEngine, "commit", commit)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("host", ["api-1", "worker-1"])
def test_the_shipped_engines_hold(engine: str, host: str) -> None:
    assert violated(scenario(engine, host)) == set()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_apiserver_that_acknowledges_before_the_sync_has_ended(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledge_early(monkeypatch)
    assert "acknowledged_writes" in violated(scenario(engine, "api-1"))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rubelet_that_acts_before_its_decision_is_durable(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledge_early(monkeypatch)
    assert "actions" in violated(scenario(engine, "worker-1"))
