"""Relays between an apiserver and nodes: the apiserver sees one watch of each, their answers are as fresh as they say,
and clients resume at the next one."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from rube.api import Event, Freshness, WatchRequest
from rube.server.relay import upstream as relay_upstream
from rube.server.relay.store import RelayStore
from rube.server.relay.upstream import Upstream
from rube.server.service import ApiService
from rube.sim.scenario import Simulation, load_text
from rube.store.embedded.replica import Written
from rube.transport import Encoded
from tests.simulation.sabotage import violated

SCENARIO = """\
name: relays-sabotage
duration: 26s
cluster:
  relays: {count: 2}
  nodes: {count: 2}
workload:
  observers: 1
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 3s, every: 300ms, times: 60, change: {names: [web-1, web-2]}}
    - {at: 3s, every: 200ms, times: 90, read: {names: [web-1]}}
    - {at: 3s, every: 200ms, times: 90, read: {names: [web-2], not_older: true}}
    - {at: 12s, delete: {names: [web-4]}}
faults:
  - {at: 6s, for: 6s, partition: {from: [relay-1], to: [api-1]}}
  - {at: 8s, for: 1s, kill: observer-1}
expect:
  - watch_promises
"""
MANY = """\
name: many
duration: 11s
cluster:
  relays: {count: 5}
  nodes: {count: 100}
workload:
  steps:
    - {at: 3s, put: {name: "web-{i}", count: 100, node: "worker-{i}"}}
faults:
  - {at: 5s, for: 3s, kill: relay-2}
expect:
  - never_on_two_nodes
"""
RESTORED = """\
name: restored
duration: 60s
cluster:
  relays: {count: 2}
  nodes: {count: 2}
workload:
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 10s, delete: {names: [web-1, web-2]}}
    - {at: 11s, put: {name: "new-{i}", count: 2, node: "worker-{i}"}}
faults:
  - {at: 8s, backup: api-1}
  - {at: 20s, restore: api-1}
expect:
  - converged: {within: 30s}
  - unit: {at: 15s, node: worker-1, name: web-1, state: absent}
  - unit: {at: 55s, node: worker-1, name: web-1, state: active}
  - unit: {at: 55s, node: worker-1, name: new-1, state: absent}
unchecked: [reads, acknowledged_writes, revisions_monotonic, watch_promises, contents, conditions, fencing, leases,
            bindings, readiness, starts]
"""


def test_the_shipped_code_holds() -> None:
    assert violated(SCENARIO) == set()


def _says_that_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Upstream, "freshness", lambda self: Freshness())


def _does_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    async def enough(self: RelayStore, revision: int) -> None: ...

    monkeypatch.setattr(RelayStore, "_reach", enough)


def _loses_deletes(monkeypatch: pytest.MonkeyPatch) -> None:
    written = relay_upstream._written

    def some(events: Iterable[Event]) -> Iterator[Written]:
        return (write for write in written(events) if write.value is not None)

    monkeypatch.setattr(relay_upstream, "_written", some)


@pytest.mark.parametrize(
    ("sabotage", "found"),
    [
        (_says_that_it_is_fresh, "watch_promises"),
        (_does_not_ask, "reads"),
        (_loses_deletes, "watch_promises"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_wrong_relay_is_found_out(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None], found: str
) -> None:
    sabotage(monkeypatch)
    assert found in violated(SCENARIO)


def test_upstream_sees_one_watch_a_relay_and_its_death_is_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[tuple[str, WatchRequest]] = []
    watch = ApiService.Watch

    def noted(self: ApiService, request: WatchRequest, context: Any) -> AsyncIterator[Encoded]:
        watched.append((context.peer().partition(":")[0], request))
        return watch(self, request, context)

    monkeypatch.setattr(ApiService, "Watch", noted)
    with Simulation(load_text(MANY, "many.yaml")) as simulation:
        result = simulation.run()
        history = simulation.cluster.history
    assert result.passed
    others = Counter(host for host, _ in watched if host != "api-1")
    assert others == Counter({f"relay-{number}": 1 + (number == 2) for number in range(1, 6)}), "one was started again"
    of_nodes = [stream for stream in history.streams if stream.client.startswith("worker")]
    assert {stream.server for stream in of_nodes} == {f"relay-{number}:7823" for number in range(1, 6)}
    moved = [stream for stream in of_nodes if stream.start_ns >= 5_000_000_000]
    assert {stream.client for stream in moved} == {f"worker-{number}" for number in range(2, 101, 5)}
    assert not any(stream.request.send_initial for stream in moved)


def test_a_restored_store_reaches_the_nodes_behind_relays() -> None:
    assert violated(RESTORED) == set()
