"""The state machine of a simulated etcd: what it has written is all that it knows."""

from __future__ import annotations

import asyncio

from google.protobuf.message import Message

from rube.sim.etcd import apply
from rube.sim.etcd.machine import EtcdMachine
from rube.sim.etcd.raft_internal_pb2 import InternalRaftRequest
from rube.store.etcd import rpc_pb2 as etcd
from rube.store.storage import RealStorage


def put(key: bytes, value: bytes) -> etcd.PutRequest:
    return etcd.PutRequest(key=key, value=value)


def txn(*ops: etcd.PutRequest) -> etcd.TxnRequest:
    return etcd.TxnRequest(success=[etcd.RequestOp(request_put=op) for op in ops])


ALARM = etcd.AlarmRequest(action=etcd.AlarmRequest.ACTIVATE, memberID=7, alarm=etcd.NOSPACE)
REQUESTS = [
    InternalRaftRequest(put=put(b"a", b"1")),
    InternalRaftRequest(txn=txn(put(b"b", b"1"), put(b"c", b"1"), put(b"d", b"1"))),
    InternalRaftRequest(put=put(b"a", b"2")),
    InternalRaftRequest(put=etcd.PutRequest(key=b"none", ignore_value=True)),  # refused
    InternalRaftRequest(delete_range=etcd.DeleteRangeRequest(key=b"b", range_end=b"d")),
    InternalRaftRequest(compaction=etcd.CompactionRequest(revision=4)),
    InternalRaftRequest(put=put(b"b", b"3")),
    InternalRaftRequest(delete_range=etcd.DeleteRangeRequest(key=b"a")),
    InternalRaftRequest(alarm=ALARM),
    InternalRaftRequest(put=put(b"e", b"too much")),  # refused
    InternalRaftRequest(compaction=etcd.CompactionRequest(revision=7)),
]


def seen(machine: EtcdMachine) -> list[object]:
    keyspace = machine.keyspace
    pages: list[Message] = [
        apply.range_(keyspace, etcd.RangeRequest(key=b"a", range_end=b"z", revision=revision))
        for revision in range(max(keyspace.compact_revision, 1), keyspace.revision + 1)
    ]
    numbers = (keyspace.revision, keyspace.compact_revision, keyspace.size_in_use_bytes, keyspace.hash(1 << 62))
    return [*numbers, keyspace.versions_from(0), pages, machine.alarms, machine.has_space]


def test_what_is_read_back_after_each_request_is_what_was_there() -> None:
    async def main() -> None:
        engine = await RealStorage().open("memory:")
        machine = EtcdMachine(engine, lambda: None, keeps_compacted_deletes=True)
        await machine.reload("g")
        states = []
        for request in REQUESTS:
            await engine.commit(machine.apply(request.SerializeToString()).writes)
            other = EtcdMachine(engine, lambda: None, keeps_compacted_deletes=True)
            await other.reload("g")
            assert seen(other) == seen(machine)
            states.append(machine.keyspace.revision)
        assert states == [2, 3, 4, 4, 5, 5, 6, 7, 7, 7, 7]
        assert not machine.has_space
        assert len(list(engine.scan(b"", b"\xff"))) == 2 + 1 + 1, "b and d, the delete at 7, and what is beside"

    asyncio.run(main())
