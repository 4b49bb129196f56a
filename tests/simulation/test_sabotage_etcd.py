"""An etcd that is broken on purpose is found out by the checks of a cluster over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rube.sim.etcd.keyspace import Version
from rube.sim.etcd.member import Member
from rube.sim.etcd.watch import Watcher
from rube.sim.judges import Verdict
from rube.sim.scenario import Simulation, load_text
from rube.store.etcd.rpc_pb2 import WatchResponse
from tests.unit.raft.test_raft_broken import answers_do_not_wait, leaders_answer_reads_alone, one_copy_commits

SCENARIO = """\
name: sabotage
seed: 4
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
    - {at: 9s, every: 100ms, times: 200, read: {names: [web-1], not_older: true}}
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
  - raft_invariants
"""


def _verdicts() -> dict[str, Verdict]:
    with Simulation(load_text(SCENARIO, "s.yaml")) as simulation:
        result = simulation.run()
    return {verdict.check: verdict for verdict in result.verdicts}


def _violated() -> list[str]:
    return [check for check, verdict in _verdicts().items() if not verdict.passed]


def test_the_simulated_etcd_holds() -> None:
    assert _violated() == []


@pytest.mark.parametrize(
    ("sabotage", "broken"),
    [
        (one_copy_commits, "COMMIT_ON_QUORUM"),
        (answers_do_not_wait, "DURABLE_ACKNOWLEDGEMENT"),
        (leaders_answer_reads_alone, "LINEARIZABLE_READ"),
    ],
)
def test_a_broken_group_is_found_out(
    sabotage: Callable[[pytest.MonkeyPatch], None], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    verdict = _verdicts()["raft_invariants"]
    assert not verdict.passed
    assert broken in verdict.offending[0]


def test_a_leader_that_asks_nobody_is_found_out_by_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    leaders_answer_reads_alone(monkeypatch)
    assert {"reads", "revisions_monotonic"} <= set(_violated())


def test_a_watch_that_forgets_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = Watcher.messages

    def forgetful(self: Watcher, member: Member, versions: list[Version], revision: int) -> Iterator[WatchResponse]:
        kept = [version for version in versions if b"web-1" not in version.kv.key or revision % 3]
        return messages(self, member, kept, revision) if kept else iter(())

    monkeypatch.setattr(Watcher, "messages", forgetful)
    assert "watch_promises" in _violated()
