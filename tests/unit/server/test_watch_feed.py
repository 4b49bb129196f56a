"""Watches that one reader feeds get what a naive filter of the whole log gives: under random filters and changes,
resumed at any revision, read slowly, and with a store whose watches break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import Lease, Metadata, Object, Unit, WatchRequest, WatchResponse
from rube.api.errors import CompactedError, UnavailableError
from rube.api.keys import ObjectKey
from rube.api.selectors import parse
from rube.api.types import BUILTIN, pack
from rube.cli.real_host import real_host
from rube.server import ApiServerConfig
from rube.server.filters import ObjectFilter
from rube.server.known_types import KnownTypes
from rube.server.objects import decode
from rube.server.watch import Watches
from rube.server.watch_index import PLACES_MAX, WatchIndex
from rube.store import Change, ChangeBatch, Op, Record, Store, StoreConfig, Txn, open_store
from rube.store.forwarding import ForwardingStore

UNIT, LEASE = "api.systemd.Unit", "api.Lease"
INTERNAL = b"!fence/x"
LABELS = st.dictionaries(st.sampled_from(["node", "tier"]), st.sampled_from(["a", "b", "c"]), max_size=2)
KEYS = st.builds(
    ObjectKey, st.sampled_from([UNIT, UNIT, UNIT, LEASE]), st.sampled_from(["n1", "n2"]), st.sampled_from(["o1", "o2"])
)
SELECTORS = ["", "node=a", "node=b", "tier=a,node=c", "node in (a,b)", "!node", "node!=a", "tier", "tier notin (a,b)"]
SPECS = {UNIT: Unit(description="x"), LEASE: Lease(holder="x")}
REQUESTS = st.builds(
    WatchRequest,
    type=st.sampled_from([UNIT, LEASE, "*"]),
    namespace=st.sampled_from(["", "n1", "n2"]),
    name=st.sampled_from(["", "o1", "o2"]),
    label_selector=st.sampled_from(SELECTORS),
)
Seen = tuple[str, str, int]
"""An event in short: its kind, its object's key, and its revision."""


def object_of(key: ObjectKey, labels: dict[str, str]) -> Object:
    metadata = Metadata(namespace=key.namespace, name=key.name, labels=labels)
    return Object(metadata=metadata, spec=pack(SPECS[key.type]))


def value_of(key: ObjectKey, labels: dict[str, str]) -> bytes:
    return object_of(key, labels).SerializeToString(deterministic=True)


def is_wanted(request: WatchRequest, key: ObjectKey, record: Record | None) -> bool:
    """The naive filter: it parses the whole object and knows no index."""
    return (
        record is not None
        and request.type in ("*", key.type)
        and request.namespace in ("", key.namespace)
        and request.name in ("", key.name)
        and parse(request.label_selector).matches(decode(record).metadata.labels)
    )


def expected(request: WatchRequest, changes: Sequence[Change], after: int, until: int) -> list[Seen]:
    found: list[Seen] = []
    for change in changes:
        if not after < change.record.mod_revision <= until or change.record.key == INTERNAL:
            continue
        key = ObjectKey.from_bytes(change.record.key)
        if not change.deleted and is_wanted(request, key, change.record):
            found.append(("update", str(key), change.record.mod_revision))
        elif is_wanted(request, key, change.previous):
            found.append(("delete", str(key), change.record.mod_revision))
    return found


class BreakableStore(ForwardingStore):
    """A store whose running watches end when `fail` is called; new ones run."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self._failed = asyncio.Event()

    def fail(self) -> None:
        failed, self._failed = self._failed, asyncio.Event()
        failed.set()

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        failed = asyncio.ensure_future(self._failed.wait())
        async with aclosing(cast(Any, super().watch(start, end, after_revision=after_revision))) as batches:
            step: asyncio.Future[ChangeBatch] | None = None
            try:
                while True:
                    step = asyncio.ensure_future(anext(batches))
                    await asyncio.wait((step, failed), return_when=asyncio.FIRST_COMPLETED)
                    if failed.done():
                        raise UnavailableError("the store is away")
                    yield step.result()
            finally:
                failed.cancel()
                if step is not None:
                    step.cancel()
                    await asyncio.gather(step, return_exceptions=True)


class Watcher:
    """A client: takes responses when it is asked to, and resumes after an error."""

    def __init__(self, watches: Watches, request: WatchRequest, after: int) -> None:
        self.request = request
        self.begun = self.reached = after
        self.seen: list[Seen] = []
        self._watches = watches
        self._step: asyncio.Future[Any] | None = None
        self._open()

    def _open(self) -> None:
        request = WatchRequest()
        request.CopyFrom(self.request)
        request.after_revision = self.reached
        self._responses = self._watches.watch(request)

    async def read(self, wait_s: float = 0.0) -> None:
        """Takes what comes until nothing more does."""
        while True:
            if self._step is None:
                self._step = asyncio.ensure_future(anext(self._responses))
            await asyncio.wait((self._step,), timeout=wait_s)
            if not self._step.done():
                return
            step, self._step = self._step, None
            try:
                self._take(WatchResponse.FromString(step.result().data))
            except UnavailableError:
                self._open()

    def _take(self, response: WatchResponse) -> None:
        assert response.revision >= self.reached
        for event in response.events:
            kind = event.WhichOneof("event")
            if kind == "bookmark":
                assert event.bookmark.revision == response.revision
                continue
            obj = event.update if kind == "update" else event.delete
            key = ObjectKey(obj.spec.type_url.removeprefix("rube/"), obj.metadata.namespace, obj.metadata.name)
            assert obj.spec == pack(SPECS[key.type])
            assert self.reached < obj.metadata.revision <= response.revision, "new, and not told to be delivered"
            self.seen.append((str(kind), str(key), obj.metadata.revision))
        self.reached = response.revision

    async def close(self) -> None:
        if self._step is not None:
            self._step.cancel()
            await asyncio.gather(self._step, return_exceptions=True)
        await self._responses.aclose()


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"), st.lists(st.tuples(KEYS, LABELS), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
        ),
        st.tuples(
            st.just("put"), st.lists(st.tuples(KEYS, LABELS), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
        ),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("internal"), st.none()),
        st.tuples(st.just("open"), st.tuples(REQUESTS, st.integers(0, 8))),
        st.tuples(st.just("open"), st.tuples(REQUESTS, st.integers(0, 8))),
        st.tuples(st.just("read"), st.integers(0, 5)),
        st.tuples(st.just("read"), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.none()),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([1, 300, 100_000]), st.sampled_from([1, 1000]), st.sampled_from([1, 3_000, 1_000_000]))
def test_watches_see_what_a_naive_filter_of_the_log_gives(
    steps: list[tuple[str, Any]], buffer_bytes_max: int, events_max: int, recent_bytes_max: int
) -> None:
    asyncio.run(Turns(buffer_bytes_max, events_max, recent_bytes_max).run(steps))


class Turns:
    def __init__(self, buffer_bytes_max: int, events_max: int, recent_bytes_max: int) -> None:
        self._config = ApiServerConfig(
            watch_buffer_bytes_max=buffer_bytes_max,
            recent_bytes_max=recent_bytes_max,
            recent_lookback_revisions=4,
            watch_response_events_max=events_max,
            watch_reader_pause_s=0,
            bookmark_interval_s=0.001,
        )
        self._watchers: list[Watcher] = []

    async def run(self, steps: list[tuple[str, Any]]) -> None:
        host = real_host()
        inner = await open_store(host, "memory:", StoreConfig(bookmark_interval_s=0.001))
        self._store = BreakableStore(inner)
        self._watches = Watches(host.clock, self._store, KnownTypes(self._store, host.clock), self._config)
        await self._put([(ObjectKey(UNIT, "n1", "o1"), {"node": "a"})])
        for kind, detail in steps:
            await getattr(self, f"_{kind}")(detail)
            for _ in range(10):
                await asyncio.sleep(0)
        await self._put([(ObjectKey(UNIT, "n1", "last"), {"node": "a"})])
        changes = await self._log()
        for watcher in self._watchers:
            async with asyncio.timeout(20):
                while watcher.reached < self._store.revision:
                    await watcher.read(0.001)
            assert watcher.seen == expected(watcher.request, changes, watcher.begun, self._store.revision)
        for watcher in self._watchers:
            await watcher.close()
        feed = self._watches.feed
        assert len(feed) == len(feed._index) == 0, "nothing stays of the watches that have ended"
        assert feed._index._types == {}
        await self._watches.close()
        await inner.close()

    async def _log(self) -> list[Change]:
        found: list[Change] = []
        async with aclosing(cast(Any, self._store.watch(b"\0", b"\xff", after_revision=0))) as batches:
            async for batch in batches:
                found += batch.changes
                if batch.revision >= self._store.revision:
                    return found
        raise AssertionError("a watch does not end")

    async def _put(self, objects: list[tuple[ObjectKey, dict[str, str]]]) -> None:
        ops = tuple(Op(key.to_bytes(), value_of(key, labels)) for key, labels in objects)
        await self._store.commit(Txn(ops))

    async def _delete(self, key: ObjectKey) -> None:
        await self._store.commit(Txn((Op(key.to_bytes(), None),)))

    async def _internal(self, _: None) -> None:
        await self._store.commit(Txn((Op(INTERNAL, b"1"),)))

    async def _open(self, detail: tuple[WatchRequest, int]) -> None:
        request, back = detail
        if after := max(0, self._store.revision - back):  # 0 would mean from now on
            self._watchers.append(Watcher(self._watches, request, after))
            await self._watchers[-1].read(0.001)

    async def _read(self, which: int) -> None:
        if which < len(self._watchers):
            await self._watchers[which].read()

    async def _leave(self, which: int) -> None:
        if which < len(self._watchers):
            await self._watchers.pop(which).close()

    async def _fail(self, _: None) -> None:
        self._store.fail()


@given(st.lists(REQUESTS, max_size=12), st.lists(st.tuples(KEYS, LABELS, LABELS), max_size=12), st.data())
def test_the_index_finds_every_filter_that_a_change_concerns(
    requests: list[WatchRequest], changes: list[tuple[ObjectKey, dict[str, str], dict[str, str]]], data: st.DataObject
) -> None:
    index: WatchIndex[int] = WatchIndex()
    wanted = [ObjectFilter.of(request, BUILTIN) for request in requests]
    topics = [index.add(one, number) for number, one in enumerate(wanted)]
    gone = data.draw(st.sets(st.sampled_from(range(len(requests))))) if requests else set()
    for number in sorted(gone):
        index.discard(topics[number], number)
    for key, before, after in changes:
        concerned = index.concerned(key.to_bytes(), lambda: (before, after))  # noqa: B023
        found = {member for topic in concerned for member in topic.members}
        records = [Record(key.to_bytes(), value_of(key, labels), 1, 1) for labels in (before, after)]
        naive = {n for n, request in enumerate(requests) if any(is_wanted(request, key, record) for record in records)}
        assert naive - gone <= found
    for number, topic in enumerate(topics):
        index.discard(topic, number)
    assert len(index) == 0
    assert index._types == {}


def test_the_index_names_none_that_asks_for_another_node() -> None:
    index: WatchIndex[int] = WatchIndex()
    for number in range(100):
        request = WatchRequest(type=UNIT, label_selector=f"node=w{number},tier=web")
        index.add(ObjectFilter.of(request, BUILTIN), number)
    labels = {"node": "w7", "tier": "web"}
    found = list(index.concerned(ObjectKey(UNIT, "n", "o").to_bytes(), lambda: (None, labels)))
    assert len(found) <= 2, "the one of the node, and the first, which had the choice"
    many = ",".join(f"w{number}" for number in range(PLACES_MAX + 1))
    index.add(ObjectFilter.of(WatchRequest(type=UNIT, label_selector=f"node in ({many})"), BUILTIN), 100)
    assert [topic.members for topic in index.concerned(ObjectKey(UNIT, "n", "o").to_bytes(), lambda: ({}, None))] == [
        {100: None}
    ]
    assert list(index.concerned(ObjectKey(LEASE, "n", "o").to_bytes(), pytest.fail)) == []


class HeldStore(ForwardingStore):
    """A store that holds back what its watches have while `open` is not set."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.open = asyncio.Event()
        self.open.set()

    async def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        async with aclosing(cast(Any, super().watch(start, end, after_revision=after_revision))) as batches:
            async for batch in batches:
                await self.open.wait()
                yield batch


def test_a_watch_that_is_ahead_of_the_reader_gets_nothing_from_before() -> None:
    async def main() -> None:
        host = real_host()
        inner = await open_store(host, "memory:")
        store = HeldStore(inner)
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig())
        early = watches.watch(WatchRequest(type=UNIT))
        await anext(early)
        await asyncio.sleep(0.01)
        store.open.clear()
        key = ObjectKey(UNIT, "n", "o")
        for number in range(3):
            await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"x": str(number)})),)))
        late = watches.watch(WatchRequest(type=UNIT))
        told = WatchResponse.FromString((await anext(late)).data)
        assert (told.revision, told.events[0].HasField("bookmark")) == (store.revision, True)
        assert len(watches.feed) == 2
        store.open.set()
        await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"x": "3"})),)))
        for responses, expected in ((early, ["0", "1", "2", "3"]), (late, ["3"])):
            seen: list[str] = []
            while len(seen) < len(expected):
                response = WatchResponse.FromString((await anext(responses)).data)
                seen += [event.update.metadata.labels["x"] for event in response.events]
            assert seen == expected
            await responses.aclose()
        await watches.close()
        await inner.close()

    asyncio.run(main())


def test_a_slow_watch_holds_no_more_than_its_bound_and_loses_nothing() -> None:
    async def main() -> None:
        host = real_host()
        store = await open_store(host, "memory:")
        config = ApiServerConfig(watch_buffer_bytes_max=1000)
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), config)
        responses = watches.watch(WatchRequest(type=UNIT))
        first = WatchResponse.FromString((await anext(responses)).data)
        assert first.events[0].HasField("bookmark")
        key = ObjectKey(UNIT, "n", "o")
        for number in range(100):
            await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"x": str(number)})),)))
            for subscription in watches.feed._silent:
                assert subscription._ready_bytes <= config.watch_buffer_bytes_max
            await asyncio.sleep(0)
        assert len(watches.feed) == 0, "it reads the log by itself"
        seen: list[str] = []
        while len(seen) < 100:
            response = WatchResponse.FromString((await anext(responses)).data)
            seen += [event.update.metadata.labels["x"] for event in response.events]
        assert seen == [str(number) for number in range(100)]
        assert len(watches.feed) == 1, "it has caught up"
        await responses.aclose()
        assert len(watches.feed) == 0
        await watches.close()
        await store.close()

    asyncio.run(main())


def test_a_watch_that_compaction_has_overtaken_hears_where_to_resume() -> None:
    async def main() -> None:
        host = real_host()
        store = await open_store(host, "memory:")
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig(watch_buffer_bytes_max=1))
        responses = watches.watch(WatchRequest(type=UNIT))
        await anext(responses)
        key = ObjectKey(UNIT, "n", "o")
        for number in range(10):
            await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"x": str(number)})),)))
            await asyncio.sleep(0)
        await store.compact(store.revision)
        # What was ready when it fell behind is gone with the rest.
        with pytest.raises(CompactedError) as raised:
            await anext(responses)
        assert raised.value.metadata["oldest_revision"] == str(store.revision)
        assert len(watches.feed) == 0
        await watches.close()
        await store.close()

    asyncio.run(main())


class CountedStore(ForwardingStore):
    """A store that knows from where it was watched."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.watched: list[int] = []

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        self.watched.append(after_revision)
        return super().watch(start, end, after_revision=after_revision)


def test_watches_that_resume_at_a_new_server_read_its_log_once_together() -> None:
    async def main() -> None:
        host = real_host()
        store = CountedStore(await open_store(host, "memory:"))
        keys = [ObjectKey(UNIT, "n", f"o{number}") for number in range(20)]
        for labels in ({"x": "1"}, {"x": "2"}, {"x": "3"}):
            for number, key in enumerate(keys):
                await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"node": f"w{number}", **labels})),)))
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig())
        for number in range(20):
            # Until the object's second state, which has come at revision 21 + number.
            request = WatchRequest(type=UNIT, label_selector=f"node=w{number}", after_revision=21 + number)
            async with aclosing(cast(Any, watches.watch(request))) as responses:
                told = WatchResponse.FromString((await anext(responses)).data)
                assert [event.update.metadata.labels["x"] for event in told.events] == ["3"]
                assert (told.events[0].update.metadata.revision, told.revision) == (41 + number, 60)
        assert store.watched == [60, 0], "the reader, and one look at what was before it"
        assert len(watches.feed) == 0
        await watches.close()
        await store.close()

    asyncio.run(main())


def test_a_watch_does_not_resume_from_a_compacted_revision_that_is_still_kept() -> None:
    async def main() -> None:
        host = real_host()
        store = await open_store(host, "memory:")
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig())
        assert watches.feed.runs()
        key = ObjectKey(UNIT, "n", "o")
        for number in range(10):
            await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"x": str(number)})),)))
            await asyncio.sleep(0)
        assert await watches.feed.reached(10, 5)
        kept = watches.watch(WatchRequest(type=UNIT, after_revision=8))
        assert len(WatchResponse.FromString((await anext(kept)).data).events) == 2
        await store.compact(10)
        with pytest.raises(CompactedError) as raised:
            await anext(watches.watch(WatchRequest(type=UNIT, after_revision=9)))
        assert raised.value.metadata["oldest_revision"] == "10"
        await kept.aclose()
        await watches.close()
        await store.close()

    asyncio.run(main())


class BrokenSight:
    """The sight of a caller for whom no object can be judged."""

    def sees(self, record: Record, labels: Any) -> bool:
        raise ValueError("cannot be judged")


def test_an_error_of_one_filter_ends_its_own_watches_alone() -> None:
    async def main() -> None:
        host = real_host()
        store = await open_store(host, "memory:")
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig())
        request = WatchRequest(type=UNIT)
        good, bad = watches.watch(request), watches.watch(request, cast(Any, BrokenSight()))
        await anext(good)
        await anext(bad)
        places = [asyncio.ensure_future(anext(each)) for each in (good, bad)]
        while len(watches.feed) < 2:
            await asyncio.sleep(0)
        reader = watches.feed._reader
        key = ObjectKey(UNIT, "n", "o")
        await store.commit(Txn((Op(key.to_bytes(), value_of(key, {})),)))
        seen, error = await asyncio.gather(*places, return_exceptions=True)
        assert WatchResponse.FromString(cast(Any, seen).data).events[0].update.metadata.name == "o"
        assert isinstance(error, ValueError)
        assert watches.feed._reader is reader, "it goes on"
        assert len(watches.feed) == 1
        await good.aclose()
        await watches.close()
        await store.close()

    asyncio.run(main())
