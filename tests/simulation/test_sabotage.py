"""A cluster that is broken on purpose is found out: checks that cannot fail on the real code would check nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rube.api import WatchResponse
from rube.controllers.runtime import Runtime
from rube.server import events as server_events
from rube.server import feed as server_feed
from rube.server import watch as server_watch
from rube.server.events import EncodedResponse
from rube.sim.cluster.recording import RecordingStore
from rube.sim.report import Result
from rube.sim.scenario import Simulation, load_text
from rube.store import Txn
from tests.simulation.sabotage import changed

SCENARIO = """\
name: sabotage
duration: 60s
cluster:
  nodes: {count: 2}
workload:
  observers: 2
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 6, node: "worker-{i}"}}
    - {at: 5s, every: 3s, times: 5, change: {names: [web-1, web-2]}}
faults:
  - {at: 20s, for: 20s, isolate: worker-1}
  - {at: 25s, for: 2s, kill: worker-1}
  - {at: 26s, remove_unit: {node: worker-1, name: web-3}}
expect:
  - acknowledged_writes
  - watch_promises
  - local_autonomy: {within: 10s}
  - converged: {within: 15s}
"""


def _violated() -> list[str]:
    with Simulation(load_text(SCENARIO, "s.yaml")) as simulation:
        result: Result = simulation.run()
    for verdict in result.verdicts:
        assert verdict.passed or verdict.offending, "a violation shows what offends"
    return [verdict.check for verdict in result.verdicts if not verdict.passed]


def test_the_shipped_code_holds() -> None:
    assert _violated() == []


def test_a_store_that_acknowledges_what_it_did_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = RecordingStore.commit
    count = 0

    async def lie(self: RecordingStore, txn: Txn) -> int:
        nonlocal count
        count += len(txn.ops) == 2  # a user's change of two units
        if len(txn.ops) == 2 and count == 3:
            return self.revision + 1
        return await commit(self, txn)

    monkeypatch.setattr(RecordingStore, "commit", lie)
    assert "acknowledged_writes" in _violated()


def test_a_watch_that_forgets_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    responses_for = server_events.responses_for

    def forget(response: WatchResponse) -> None:
        if len(response.events) == 1 and response.revision % 7 == 0:
            del response.events[:]

    def forgetful(*args: Any) -> Iterator[EncodedResponse]:
        for response in responses_for(*args):
            yield changed(response, forget)

    for module in (server_watch, server_feed):
        monkeypatch.setattr(module, "responses_for", forgetful)
    assert "watch_promises" in _violated()


def test_a_rubelet_that_waits_for_the_apiserver(monkeypatch: pytest.MonkeyPatch) -> None:
    decide_all = Runtime._decide_all

    def only_with_the_server(self: Runtime) -> None:
        if self._cache.connected:
            decide_all(self)

    monkeypatch.setattr(Runtime, "_decide_all", only_with_the_server)
    assert _violated() == ["local_autonomy"]
