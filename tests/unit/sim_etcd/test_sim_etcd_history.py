"""Watches that begin before their store's tail, on a simulated etcd: who reads the log, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from rube.api.errors import CompactedError, DataLossError
from rube.sim.etcd.watch import Stream
from rube.sim.world.kernel import World
from rube.store import ChangeBatch, Op, StoreConfig, Txn, open_store
from rube.store.etcd.rpc_pb2 import WatchResponse
from rube.store.etcd.store import EtcdStore
from tests.unit.sim_etcd.etcd_worlds import EtcdWorld

ALL = (b"", b"\xff")
COMMITS = 60
READERS_MAX = 3
CONFIG = StoreConfig(tail_bytes_max=0, watch_changes_max=7)
"""All that a watch sees is behind this tail, and comes in several batches."""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[EtcdWorld]:
    monkeypatch.setattr("rube.store.etcd.store.READERS_MAX", READERS_MAX)
    with World(1) as world:
        yield EtcdWorld(world)


def run(world: EtcdWorld, body: Callable[[EtcdStore, list[int]], Awaitable[None]]) -> None:
    """Runs `body(store, its revisions)` on a store that has a history."""

    async def main() -> None:
        store = await open_store(world.host, world.url + "/data", CONFIG)
        assert isinstance(store, EtcdStore)
        try:
            await body(store, [await store.commit(Txn((Op(b"k%d" % n, b"x"),))) for n in range(COMMITS)])
        finally:
            await store.close()

    world.run(main)


def streams(store: EtcdStore) -> int:
    """Streams to etcd: those of readers of the log, and the tail's."""
    return sum(len(member.streams) for member in store._client.members)


async def rest_of(store: EtcdStore, watch: AsyncIterator[ChangeBatch], last: int) -> list[int]:
    seen: list[int] = []
    while not seen or seen[-1] < last:
        batch = await anext(watch)
        seen += [change.record.mod_revision for change in batch.changes]
        assert streams(store) <= READERS_MAX + 1
    return seen


def test_watches_of_slow_readers_hold_up_no_others_and_any_number_share_a_few_streams(world: EtcdWorld) -> None:
    async def body(store: EtcdStore, revisions: list[int]) -> None:
        begin = revisions[0] - 1
        slow = [aiter(store.watch(*ALL, after_revision=begin)) for _ in range(10)]
        firsts = [(await anext(watch)).changes for watch in slow]
        assert streams(store) == READERS_MAX + 1
        fast = [rest_of(store, aiter(store.watch(*ALL, after_revision=begin)), revisions[-1]) for _ in range(10)]
        assert await asyncio.gather(*fast) == [revisions] * 10
        for first, watch in zip(firsts, slow, strict=True):
            seen = [change.record.mod_revision for change in first]
            assert seen + await rest_of(store, watch, revisions[-1]) == revisions

    run(world, body)


def test_a_watch_that_ends_or_is_cancelled_gives_its_place_to_the_next(world: EtcdWorld) -> None:
    async def body(store: EtcdStore, revisions: list[int]) -> None:
        begin = revisions[0] - 1

        async def first_batch() -> None:
            await anext(aiter(store.watch(*ALL, after_revision=begin)))

        for _ in range(3):
            tasks = [asyncio.ensure_future(first_batch()) for _ in range(2 * READERS_MAX)]
            await store._clock.sleep(0.05)  # etcd has not yet answered
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert await rest_of(store, aiter(store.watch(*ALL, after_revision=begin)), revisions[-1]) == revisions

    run(world, body)


def test_a_watch_whose_reader_was_taken_away_is_told_if_compaction_has_passed_it(world: EtcdWorld) -> None:
    async def body(store: EtcdStore, revisions: list[int]) -> None:
        slow = aiter(store.watch(*ALL, after_revision=revisions[0] - 1))
        await anext(slow)
        others = [aiter(store.watch(*ALL, after_revision=revisions[0] - 1)) for _ in range(READERS_MAX)]
        for other in others:
            await anext(other)
        await store.compact(revisions[-1])
        with pytest.raises(CompactedError) as caught:
            await anext(slow)
        assert caught.value.metadata["oldest_revision"] == str(revisions[-1])

    run(world, body)


def test_a_member_that_delivers_no_events_is_left_once_there_must_be_some(
    world: EtcdWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = Stream.due

    def due_of_a_deaf_member(self: Stream) -> Iterator[WatchResponse]:
        return (answer for answer in due(self) if not answer.events or self._member.config.name != "etcd-1")

    async def main() -> None:
        store = await open_store(world.host, f"{world.url}/data", StoreConfig(bookmark_interval_s=1))
        other = await open_store(world.host, "etcd://etcd-2:2379/data")
        watch = aiter(store.watch(*ALL, after_revision=store.revision))
        await anext(watch)
        monkeypatch.setattr(Stream, "due", due_of_a_deaf_member)
        revision = await other.commit(Txn((Op(b"a", b"1"),)))
        assert (await store.range(*ALL)).revision == revision
        async with world.host.clock.timeout(10):
            assert [change.record.key for change in (await anext(watch)).changes] == [b"a"]
        await other.close()
        await store.close()

    world.run(main)


def test_a_store_whose_etcd_went_back_to_an_older_state_comes_to_an_end(world: EtcdWorld) -> None:
    """A restored snapshot does so. Else watches would stand still, and then leave out what happened before."""

    async def body(store: EtcdStore, revisions: list[int]) -> None:
        watch = aiter(store.watch(*ALL, after_revision=revisions[-1]))
        await anext(watch)
        store._reads.revision = revisions[-1] + 1000  # what it would know of the history that is gone
        store._client.leave_current()  # all members were restarted
        failure = await store.failed()
        assert "went back" in failure.message
        assert "so that their clients list again" in failure.message
        for attempt in (anext(watch), store.range(*ALL), store.commit(Txn((Op(b"a", b""),)))):
            with pytest.raises(DataLossError, match="went back"):
                await attempt

    run(world, body)
