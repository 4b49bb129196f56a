"""An etcd that is broken on purpose is found out by the checks of a cluster over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from rube.sim.etcd.consensus import Consensus
from rube.sim.etcd.keyspace import Version
from rube.sim.etcd.log import Log
from rube.sim.etcd.member import Member
from rube.sim.etcd.peer_pb2 import Entry
from rube.sim.etcd.watch import Watcher
from rube.sim.scenario import Simulation, load_text
from rube.store.etcd.rpc_pb2 import WatchResponse

SCENARIO = """\
name: sabotage
duration: 42s
cluster:
  etcd: {members: 3}
  # Each asks one member alone: whichever leads has a client of its own.
  apiservers:
    - {name: api-1, store: "etcd://etcd-1:2379"}
    - {name: api-2, store: "etcd://etcd-2:2379"}
    - {name: api-3, store: "etcd://etcd-3:2379"}
  nodes: {count: 1}
workload:
  observers: 1
  steps:
    - {at: 6s, put: {name: "web-{i}", count: 3, node: worker-1}}
    - {at: 9s, every: 300ms, times: 70, change: {names: [web-1]}}
faults:
  # From the other members alone: one of them leads.
  - {at: 10s, for: 3s, partition: {from: [etcd-1], to: [etcd-2, etcd-3]}}
  - {at: 16s, for: 3s, partition: {from: [etcd-2], to: [etcd-1, etcd-3]}}
  - {at: 22s, for: 3s, partition: {from: [etcd-3], to: [etcd-1, etcd-2]}}
  - {at: 29s, for: 2s, power_off: etcd-1}
  - {at: 29s, for: 2s, power_off: etcd-2}
  - {at: 29s, for: 2s, power_off: etcd-3}
expect:
  - acknowledged_writes
  - revisions_monotonic
  - watch_promises
"""


def _violated() -> list[str]:
    with Simulation(load_text(SCENARIO, "s.yaml")) as simulation:
        result = simulation.run()
    return [verdict.check for verdict in result.verdicts if not verdict.passed]


def test_the_simulated_etcd_holds() -> None:
    assert _violated() == []


def test_members_that_acknowledge_before_they_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    add, merge = Log.add, Log.merge

    def add_at_once(self: Log, entry: Entry) -> None:
        add(self, entry)
        self.durable_index = self.last_index

    def merge_at_once(self: Log, entries: Sequence[Entry]) -> None:
        merge(self, entries)
        self.durable_index = self.last_index

    monkeypatch.setattr(Log, "add", add_at_once)
    monkeypatch.setattr(Log, "merge", merge_at_once)
    assert _violated() != []


def test_a_watch_that_forgets_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = Watcher.messages

    def forgetful(self: Watcher, member: Member, versions: list[Version], revision: int) -> Iterator[WatchResponse]:
        kept = [version for version in versions if b"web-1" not in version.kv.key or revision % 3]
        return messages(self, member, kept, revision) if kept else iter(())

    monkeypatch.setattr(Watcher, "messages", forgetful)
    assert "watch_promises" in _violated()


def test_a_leader_that_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """It commits what is on its own disk alone, and reads without making sure that it still leads."""
    acknowledged = Consensus._acknowledged

    def alone(self: Consensus, member: str, term: int, index: int) -> None:
        acknowledged(self, member, term, index)
        if member == self._name and term == self._leading_term:
            self._commit(index)

    async def own_read_index(self: Consensus) -> int:
        return self.committed_index

    monkeypatch.setattr(Consensus, "_acknowledged", alone)
    monkeypatch.setattr(Consensus, "own_read_index", own_read_index)
    assert _violated() != []
