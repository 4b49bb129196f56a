"""The objects that the index finds are those that a naive filter of the whole store gives at that revision: under
random changes, also while the index is being filled, over a store whose watches break, and at revisions of the past."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import WatchRequest, WatchResponse
from rube.api.errors import RubeError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN
from rube.cli.real_host import real_host
from rube.host import RealClock
from rube.server import ApiServerConfig, object_index
from rube.server.events import EventCache
from rube.server.feed import ChangeFeed
from rube.server.filters import ObjectFilter
from rube.server.known_types import KnownTypes
from rube.server.object_index import Attribute
from rube.server.selection import Selection
from rube.server.stored_object import labels_of
from rube.server.watch import Watches
from rube.store import Lookup, Op, Page, Record, Txn, open_store
from rube.store.forwarding import ForwardingStore
from tests.unit.server.test_watch_feed import (
    INTERNAL,
    KEYS,
    LABELS,
    REQUESTS,
    UNIT,
    BreakableStore,
    HeldStore,
    is_wanted,
    value_of,
)

PUTS = st.tuples(
    st.just("put"), st.lists(st.tuples(KEYS, LABELS), min_size=1, max_size=3, unique_by=lambda pair: pair[0])
)
INDEXED = st.builds(WatchRequest, type=st.just(UNIT), label_selector=st.sampled_from(["node=a", "node in (a,b)"]))
SELECTED = st.one_of(INDEXED, INDEXED, REQUESTS)
STEPS = st.lists(
    st.one_of(
        PUTS,
        PUTS,
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("internal"), st.none()),
        st.tuples(st.just("select"), st.tuples(SELECTED, st.integers(0, 5))),
        st.tuples(st.just("select"), st.tuples(SELECTED, st.just(0))),
        st.tuples(st.just("begin"), SELECTED),
        st.tuples(st.just("turns"), st.integers(1, 5)),
        st.tuples(st.just("fail"), st.none()),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=25, deadline=None)
@given(STEPS, st.sampled_from([1, 2, 10_000]), st.sampled_from([3, 10_000]))
def test_what_is_selected_is_what_a_naive_filter_selects(
    steps: list[tuple[str, Any]], departures_max: int, keys_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_index, "DEPARTURES_MAX", departures_max)
        patch.setattr(object_index, "ATTRIBUTES_MAX", 3)
        patch.setattr(object_index, "KEPT_NS_MIN", 0)
        asyncio.run(Turns(keys_max).run(steps))


class SlowStore(BreakableStore):
    """A store whose reads take turns of the loop, before and after they read."""

    async def range(self, *args: Any, **options: Any) -> Page:
        for _ in range(2):
            await asyncio.sleep(0)
        page = await super().range(*args, **options)
        for _ in range(12):
            await asyncio.sleep(0)
        return page


class Turns:
    """`_begin` leaves a read under way while other steps are taken, and the end of the run sees to it."""

    def __init__(self, keys_max: int) -> None:
        self._config = ApiServerConfig(index_keys_max=keys_max, watch_reader_pause_s=0)
        self._under_way: list[tuple[WatchRequest, int, asyncio.Task[list[Page]]]] = []
        # The objects at each revision.
        self._states: dict[int, dict[bytes, Record]] = {0: {}}

    async def run(self, steps: list[tuple[str, Any]]) -> None:
        inner = await open_store(real_host(), "memory:")
        self._store = SlowStore(inner)
        feed = ChangeFeed(RealClock(), self._store, EventCache(bytes_max=1_000), self._config)
        self._selection = Selection(self._store, feed)
        await self._put([(ObjectKey(UNIT, "n1", "o1"), {"node": "a"})])
        for kind, detail in steps:
            await getattr(self, f"_{kind}")(detail)
        for request, newest, task in self._under_way:
            self._check(request, newest, await task, exactly=False)
        await self._selection.close()
        await feed.close()
        await inner.close()

    async def _put(self, objects: list[tuple[ObjectKey, dict[str, str]]]) -> None:
        await self._commit([Op(key.to_bytes(), value_of(key, labels)) for key, labels in objects])

    async def _delete(self, key: ObjectKey) -> None:
        await self._commit([Op(key.to_bytes(), None)])

    async def _internal(self, _: None) -> None:
        await self._commit([Op(INTERNAL, b"1")])

    async def _commit(self, ops: list[Op]) -> None:
        before = self._states[self._store.revision]
        revision = await self._store.commit(Txn(tuple(ops)))
        now = dict(before)
        for op in ops:
            if op.value is None:
                now.pop(op.key, None)
            elif op.key != INTERNAL:
                created = before[op.key].create_revision if op.key in before else revision
                now[op.key] = Record(op.key, op.value, created, revision)
        self._states[revision] = now

    async def _select(self, detail: tuple[WatchRequest, int]) -> None:
        request, back = detail
        newest = self._store.revision
        revision = max(1, newest - back) if back else 0
        self._check(request, revision or newest, await self._read(request, revision), exactly=bool(back))

    async def _read(self, request: WatchRequest, revision: int) -> list[Page]:
        wanted = ObjectFilter.of(request, BUILTIN)
        return [page async for page in self._selection.pages(wanted, wanted.start, revision=revision)]

    def _check(self, request: WatchRequest, revision: int, pages: list[Page], *, exactly: bool) -> None:
        (at,) = {page.revision for page in pages}
        assert at == revision or (not exactly and at > revision)
        assert [page.more for page in pages] == [True] * (len(pages) - 1) + [False]
        wanted = ObjectFilter.of(request, BUILTIN)
        found = [record for page in pages for record in page.records if wanted.matches_key(record.key)]
        expected = [
            record
            for key, record in sorted(self._states[at].items())
            if is_wanted(request, ObjectKey.from_bytes(key), record)
        ]
        assert [record for record in found if wanted.matches(partial(labels_of, record))] == expected

    async def _begin(self, request: WatchRequest) -> None:
        task = asyncio.create_task(self._read(request, 0))
        self._under_way.append((request, self._store.revision, task))

    async def _turns(self, count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async def _fail(self, _: None) -> None:
        self._store.fail()


class CountingStore(ForwardingStore):
    """A store that counts the records that are read from it."""

    read = 0

    async def get(self, keys: Any, *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        found = await super().get(keys, min_revision=min_revision, serializable=serializable)
        self.read += len(keys)
        return found

    async def range(self, *args: Any, **options: Any) -> Page:
        page = await super().range(*args, **options)
        self.read += len(page.records)
        return page


NODES, EACH = 50, 4


@pytest.mark.parametrize("selector", ["node=w7", "node=w7,tier=web", "node in (w7)", "name"])
def test_initial_objects_cost_what_they_are_not_what_there_is(selector: str) -> None:
    async def main() -> None:
        host = real_host()
        inner = await open_store(host, "memory:")
        for node in range(NODES):
            keys = [ObjectKey(UNIT, f"n{number}", f"w{node}") for number in range(EACH)]
            ops = [Op(key.to_bytes(), value_of(key, {"node": f"w{node}", "tier": "web"})) for key in keys]
            await inner.commit(Txn(tuple(ops)))
        store = CountingStore(inner)
        watches = Watches(host.clock, store, KnownTypes(store, host.clock), ApiServerConfig())
        request = WatchRequest(type=UNIT, send_initial=True)
        if selector == "name":
            request.name = "w7"
        else:
            request.label_selector = selector

        async def initial() -> list[str]:
            async with aclosing(watches.watch(request)) as responses:
                response = WatchResponse.FromString((await anext(responses)).data)
                return [event.update.metadata.name for event in response.events if event.HasField("update")]

        assert [await initial() for _ in range(2)] == [["w7"] * EACH] * 2
        store.read = 0
        assert [await initial() for _ in range(10)] == [["w7"] * EACH] * 10
        assert store.read == 10 * EACH
        await watches.close()
        await inner.close()

    asyncio.run(main())


def test_a_list_waits_for_the_reader_to_know_what_was_written_before_it() -> None:
    async def main() -> None:
        store = HeldStore(await open_store(real_host(), "memory:"))
        feed = ChangeFeed(RealClock(), store, EventCache(bytes_max=1_000), ApiServerConfig())
        selection = Selection(store, feed)
        key = ObjectKey(UNIT, "n", "o")
        await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"node": "a"})),)))
        wanted = ObjectFilter.of(WatchRequest(type=UNIT, label_selector="node=b"), BUILTIN)

        async def selected() -> list[bytes]:
            pages = [page async for page in selection.pages(wanted, wanted.start)]
            return [record.key for page in pages for record in page.records]

        assert [await selected() for _ in range(2)] == [[key.to_bytes()], []], "the first one reads the range"
        assert feed.objects.get(Attribute(UNIT, "node")) is not None
        store.open.clear()
        await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"node": "b"})),)))
        under_way = asyncio.create_task(selected())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not under_way.done()
        store.open.set()
        assert await under_way == [key.to_bytes()]
        await selection.close()
        await feed.close()
        await store.close()

    asyncio.run(main())


def test_a_fill_that_fails_leaves_the_range_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        store = await open_store(real_host(), "memory:")
        feed = ChangeFeed(RealClock(), store, EventCache(bytes_max=1_000), ApiServerConfig())
        selection = Selection(store, feed)
        key = ObjectKey(UNIT, "n", "o")
        await store.commit(Txn((Op(key.to_bytes(), value_of(key, {"node": "a"})),)))
        wanted = ObjectFilter.of(WatchRequest(type=UNIT, label_selector="node=a"), BUILTIN)
        inner_range, ends = store.range, 0

        async def range_(*args: Any, **options: Any) -> Page:
            nonlocal ends
            if options.get("revision"):
                ends += 1
                raise RubeError("the store is away")
            return await inner_range(*args, **options)

        monkeypatch.setattr(store, "range", range_)
        for _ in range(2):
            pages = [page async for page in selection.pages(wanted, wanted.start)]
        assert ([record.key for page in pages for record in page.records], ends) == ([key.to_bytes()], 1)
        assert feed.objects.get(Attribute(UNIT, "node")) is None
        await selection.close()
        await feed.close()
        await store.close()

    asyncio.run(main())
