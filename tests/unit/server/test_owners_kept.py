"""The owners of fields are kept beside the object, in every copy of the store, and at no cost for others."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    GetResponse,
    Key,
    Metadata,
    Object,
    PutRequest,
    Unit,
)
from rube.api.types import pack
from rube.host import Host, RealClock, RealRandomness
from rube.server import ApiServerConfig
from rube.server.apply import apply
from rube.server.backend import Backend
from rube.server.delete import delete
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.owners import owners_key
from rube.server.put import put
from rube.server.read import get
from rube.server.writes import Writer
from rube.store import Lookup, Op, RealStorage, Store, Txn, open_store
from rube.store.forwarding import ForwardingStore
from rube.store.maintenance import StreamSource, StreamTarget, back_up, restore
from rube.transport import GrpcNetwork

KEY = Key(type="api.systemd.Unit", namespace="system", name="a")
RAW = b"api.systemd.Unit/system/a"
HOST = Host(name="t", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness())


def unit(description: str, **labels: str) -> Object:
    return Object(
        metadata=Metadata(namespace="system", name="a", labels=labels), spec=pack(Unit(description=description))
    )


class Counting(ForwardingStore):
    """Counts the keys that are read and written."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.reads: list[list[bytes]] = []
        self.writes: list[list[bytes]] = []

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        if not keys[0].startswith(b"core.Namespace/"):  # read once for a new object's namespace
            self.reads.append(list(keys))
        return await super().get(keys, min_revision=min_revision, serializable=serializable)

    async def commit(self, txn: Txn) -> int:
        self.writes.append([op.key for op in txn.ops])
        return await super().commit(txn)


def backend_of(store: Store) -> Backend:
    return Backend(
        host=HOST,
        store=store,
        writer=Writer(store, Namespaces(HOST.clock, store), retries_max=1, waiters_per_key_max=1),
        types=KnownTypes(store, HOST.clock),
        config=ApiServerConfig(),
    )


async def owners_of(backend: Backend) -> dict[str, list[str]]:
    answer = await get(backend, GetRequest(key=KEY, include_owners=True))
    found = GetResponse.FromString(answer.data)
    return {item.owner: list(item.fields) for item in found.owners.items}


async def with_store(url: str, body: Callable[[Store], Awaitable[None]]) -> None:
    store = await open_store(HOST, url)
    try:
        await body(store)
    finally:
        await store.close()


def test_a_put_of_an_object_without_owners_reads_and_writes_nothing_more() -> None:
    async def body(store: Store) -> None:
        counting = Counting(store)
        backend = backend_of(counting)
        await put(backend, PutRequest(objects=[unit("one")]))
        await put(backend, PutRequest(objects=[unit("two")], owner="editor"))
        await delete(backend, DeleteRequest(keys=[KEY]))
        assert counting.reads == [[RAW]] * 3
        assert counting.writes == [[RAW]] * 3

    asyncio.run(with_store("memory:", body))


def test_an_apply_reads_once_and_writes_owners_where_they_change() -> None:
    async def body(store: Store) -> None:
        counting = Counting(store)
        backend = backend_of(counting)
        await apply(backend, ApplyRequest(objects=[unit("one")], owner="x"))
        await apply(backend, ApplyRequest(objects=[unit("two")], owner="x"))
        await apply(backend, ApplyRequest(objects=[unit("two")], owner="x"))
        await apply(backend, ApplyRequest(objects=[unit("two")], owner="y"))
        both = [RAW, owners_key(RAW)]
        assert counting.reads == [both] * 4
        assert counting.writes == [both, [RAW], [owners_key(RAW)]]
        await delete(backend, DeleteRequest(keys=[KEY]))
        assert counting.writes[-1] == both

    asyncio.run(with_store("memory:", body))


def test_a_backup_carries_them_into_another_kind_of_store(tmp_path: Path) -> None:
    source, target = f"sqlite:///{tmp_path}/source.db", f"sqlite:///{tmp_path}/target.db"

    async def fill(store: Store) -> None:
        backend = backend_of(store)
        await apply(backend, ApplyRequest(objects=[unit("one")], owner="x"))
        await put(backend, PutRequest(objects=[unit("one", tier="web")], owner="hand"))

    async def check(store: Store) -> None:
        assert await owners_of(backend_of(store)) == {"hand": ["metadata.labels.tier"], "x": ["spec.description"]}

    async def body() -> None:
        await with_store(source, fill)
        file = io.BytesIO()
        await back_up(HOST, source, StreamTarget(file, "FILE"), lambda done, total: None)
        await restore(HOST, StreamSource(io.BytesIO(file.getvalue()), "FILE"), target, lambda done, total: None)
        await with_store(target, check)

    asyncio.run(body())


def test_an_object_whose_owners_were_lost_is_that_of_put_until_it_is_applied() -> None:
    """A salvage that could not read them leaves such."""

    async def body(store: Store) -> None:
        backend = backend_of(store)
        await apply(backend, ApplyRequest(objects=[unit("one")], owner="x"))
        await store.commit(Txn((Op(owners_key(RAW), None),)))
        await put(backend, PutRequest(objects=[unit("two")], owner="hand"))
        assert await owners_of(backend) == {"put": ["spec.description"]}
        await apply(backend, ApplyRequest(objects=[unit("two")], owner="x"))
        assert await owners_of(backend) == {"put": ["spec.description"], "x": ["spec.description"]}

    asyncio.run(with_store("memory:", body))


def test_owners_that_an_earlier_object_left_behind_count_for_nothing() -> None:
    """A server that knows no owners puts so: it leaves the mark in the metadata out."""

    async def body(store: Store) -> None:
        backend = backend_of(store)
        await put(backend, PutRequest(objects=[unit("one")]))
        await store.commit(Txn((Op(owners_key(RAW), b"\n\x06\n\x01y\x12\x01z"),)))
        assert await owners_of(backend) == {"put": ["spec.description"]}
        await apply(backend, ApplyRequest(objects=[unit("one")], owner="x"))
        assert await owners_of(backend) == {"put": ["spec.description"], "x": ["spec.description"]}

    asyncio.run(with_store("memory:", body))
