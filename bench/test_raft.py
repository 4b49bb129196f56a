"""The consensus core alone: entries through three cores in one process, with their storage in memory.

The figure to reach: 20,000 committed entries of 100 bytes a second in batches of 16, counted when all three have
applied them. Messages are handed over as they are, without bytes in between. On a machine with other work, add
`--benchmark-timer=time.process_time`.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from rube.raft import APPEND_THREAD, APPLY_THREAD, MemoryStorage, RaftConfig, RawNode, Ready
from rube.raft.raft_pb2 import ConfState, HardState

VOTERS = (1, 2, 3)
BATCH = [b"x" * 100] * 16
BATCHES = 500
PIPELINED = 4
"""How many batches are proposed before the storage writes and the network carries: group commit."""
COMPACTION_ENTRIES = 4096


class Cluster:
    """Three cores, each with its storage."""

    def __init__(self, *, asynchronous: bool) -> None:
        chance = random.Random(1)
        self.asynchronous = asynchronous
        self.storages = {id: MemoryStorage(ConfState(voters=VOTERS)) for id in VOTERS}
        self.nodes = {
            id: RawNode(
                RaftConfig(id=id, storage=storage, random_below=chance.randrange, async_storage_writes=asynchronous)
            )
            for id, storage in self.storages.items()
        }
        self.applied = dict.fromkeys(VOTERS, 0)
        self.nodes[1].campaign()
        self.run()

    def propose(self, batches: int) -> None:
        for _ in range(batches):
            self.nodes[1].propose(*BATCH)

    def run(self) -> None:
        """Runs until nothing is left to do."""
        handle = self._asynchronous if self.asynchronous else self._synchronous
        busy = True
        while busy:
            busy = False
            for id, node in self.nodes.items():
                while node.has_ready():
                    busy = True
                    handle(id, node, node.ready())

    def _synchronous(self, id: int, node: RawNode, ready: Ready) -> None:
        self.storages[id].append(ready.entries)
        if ready.hard_state is not None:
            self.storages[id].set_hard_state(ready.hard_state)
        self._apply(id, len(ready.committed_entries))
        node.advance()
        for message in ready.messages:
            self.nodes[message.to].step(message)

    def _asynchronous(self, id: int, node: RawNode, ready: Ready) -> None:
        for message in ready.messages:
            if message.to == APPEND_THREAD:
                self.storages[id].append(list(message.entries))
                if message.term:
                    self.storages[id].set_hard_state(
                        HardState(term=message.term, vote=message.vote, commit=message.commit)
                    )
            elif message.to == APPLY_THREAD:
                self._apply(id, len(message.entries))
            else:
                self.nodes[message.to].step(message)
                continue
            for response in message.responses:
                self.nodes[response.to].step(response)

    def _apply(self, id: int, entries: int) -> None:
        self.applied[id] += entries
        storage = self.storages[id]
        applied = self.nodes[id].raft.log.applied
        if applied - storage.first_index() > COMPACTION_ENTRIES:
            storage.compact(applied)


@pytest.mark.parametrize("pipelined", [1, PIPELINED])
@pytest.mark.parametrize("storage", ["synchronous", "asynchronous"])
def test_entries_through_three_cores(
    benchmark: Any, capsys: pytest.CaptureFixture[str], storage: str, pipelined: int
) -> None:
    clusters: list[Cluster] = []

    def elect() -> tuple[tuple[Cluster], dict[str, Any]]:
        clusters.append(Cluster(asynchronous=storage == "asynchronous"))
        return (clusters[-1],), {}

    def work(cluster: Cluster) -> None:
        for _ in range(BATCHES // pipelined):
            cluster.propose(pipelined)
            cluster.run()

    benchmark.group = "raft: three cores in one process"
    benchmark.pedantic(work, setup=elect, rounds=5, warmup_rounds=1)
    entries = BATCHES * len(BATCH)
    assert all(cluster.applied == dict.fromkeys(VOTERS, entries + 1) for cluster in clusters)
    entries_per_s = entries / benchmark.stats.stats.min
    benchmark.extra_info["entries_per_s"] = round(entries_per_s)
    with capsys.disabled():
        print(f"\n{storage} storage, {pipelined} batches at once: {entries_per_s:,.0f} entries/s")


def test_ticks_of_an_idle_cluster(benchmark: Any) -> None:
    """The cost of a heartbeat interval for three cores that have nothing else to do."""
    cluster = Cluster(asynchronous=False)

    def tick() -> None:
        for node in cluster.nodes.values():
            node.tick()
        cluster.run()

    benchmark.group = "raft: three cores in one process"
    benchmark(tick)
