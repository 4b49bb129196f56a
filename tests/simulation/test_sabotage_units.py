"""Units on machines and statuses that are wrong, late or going back are found out, too."""

from __future__ import annotations

import pytest

from rube.api import Action, UnitAction, UnitStatus
from rube.sim.cluster.recording import RecordingStore
from rube.sim.units.service_manager import SimServiceDriver
from rube.store import Txn
from rube.units.controller import UnitController
from tests.simulation.sabotage import violated

SCENARIO = """\
name: sabotage
duration: 60s
cluster:
  nodes: {count: 2}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 5s, change: {names: [web-1, web-2]}}
    - {at: 8s, stop: {names: [web-3]}}
    - {at: 10s, delete: {names: [web-4]}}
    - {at: 14s, move: {names: [web-1], node: worker-2}}
expect:
  - converged: {within: 15s}
  - never_on_two_nodes
  - status_reported
  - watch_latency: {percentile: 90, below: 50ms}
  - unit: {at: 50s, node: worker-2, name: web-2, state: active}
  - unit: {at: 50s, node: worker-1, name: web-3, state: inactive}
"""


def test_the_shipped_code_holds() -> None:
    assert violated(SCENARIO) == set()


def _driver_that_ignores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = SimServiceDriver.apply

    async def lazy(self: SimServiceDriver, action: Action) -> bool:
        wanted = UnitAction()
        action.action.Unpack(wanted)
        return True if wanted.WhichOneof("action") == kind else await apply(self, action)

    monkeypatch.setattr(SimServiceDriver, "apply", lazy)


def test_a_driver_that_removes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _driver_that_ignores("remove", monkeypatch)
    assert "converged" in violated(SCENARIO)


def test_a_node_that_starts_before_the_other_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user binds a unit to another node by its label, which starts it there at once."""
    text = SCENARIO.replace(
        "- {at: 14s, move: {names: [web-1], node: worker-2}}", "- {at: 14s, put: {name: web-1, node: worker-2}}"
    )
    text = text.replace("expect:", "faults:\n  - {at: 13s, for: 10s, isolate: worker-1}\nexpect:")
    assert "never_on_two_nodes" in violated(text)


def test_a_status_that_is_not_so(monkeypatch: pytest.MonkeyPatch) -> None:
    status = UnitController._status

    def rosy(self: UnitController, *args: object) -> UnitStatus:
        found = status(self, *args)  # type: ignore[arg-type]
        found.active_state = "active"
        return found

    monkeypatch.setattr(UnitController, "_status", rosy)
    assert {"converged", "status_reported"} <= violated(SCENARIO)


def test_a_unit_that_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert violated(SCENARIO.replace("state: inactive", "state: active")) == {"unit"}
    assert violated(SCENARIO.replace("name: web-2, state: active", "name: web-2, state: active, starts_min: 9")) == {
        "unit"
    }


def test_watches_that_are_late(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SCENARIO.replace("nodes: {count: 2}", "nodes: {count: 2}\n  network: {latency: 80ms}")
    assert "watch_latency" in violated(text)


def test_a_store_whose_revisions_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = RecordingStore.commit
    times = 0

    async def back(self: RecordingStore, txn: Txn) -> int:
        nonlocal times
        revision = await commit(self, txn)
        if (times := times + 1) == 20:
            self._history.commits[-1] = self._history.commits[-1].__class__(
                self._history.commits[-1].at_ns, 3, self._history.commits[-1].begun_ns
            )
            return 3
        return revision

    monkeypatch.setattr(RecordingStore, "commit", back)
    assert "revisions_monotonic" in violated(SCENARIO)
