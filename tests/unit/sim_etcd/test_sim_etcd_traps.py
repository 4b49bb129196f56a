"""Broken promises of etcd 3.4.23 do not harm an EtcdStore, and the simulated etcd really breaks them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from rube.api.errors import CompactedError
from rube.sim.etcd import Quirks
from rube.sim.world.kernel import World
from rube.store import Op, Txn, open_store
from rube.store.etcd import rpc_pb2 as etcd
from tests.unit.sim_etcd.etcd_worlds import MEMBERS, EtcdWorld

ALL = (b"", b"\xff" * 9)
QUIRKS = [Quirks(), Quirks(progress_overtakes=False, keeps_compacted_deletes=False)]


@pytest.mark.parametrize("quirks", QUIRKS, ids=["3.4.23", "mended"])
def test_progress_waits_for_what_it_covers_unless_it_overtakes(quirks: Quirks) -> None:
    with World(seed=1) as world:
        site = EtcdWorld(world, quirks)
        site.put("etcd-1", b"k")

        async def main() -> list[int]:
            call = site.watches("etcd-1").Watch()
            create = etcd.WatchCreateRequest(key=b"k", start_revision=2)
            await call.write(etcd.WatchRequest(create_request=create))
            await call.write(etcd.WatchRequest(progress_request=etcd.WatchProgressRequest()))
            return [(await call.read()).watch_id for _ in range(3)]

        assert site.run(main) == ([0, -1, 0] if quirks.progress_overtakes else [0, 0, -1])


@pytest.mark.parametrize("quirks", QUIRKS, ids=["3.4.23", "mended"])
def test_the_compacted_revision_is_told_or_not_and_never_with_its_previous_value(quirks: Quirks) -> None:
    with World(seed=1) as world:
        site = EtcdWorld(world, quirks)
        site.put("etcd-1", b"k")
        delete, compact = etcd.DeleteRangeRequest(key=b"k"), etcd.CompactionRequest(revision=3)
        site.ask("etcd-1", lambda kv: kv.DeleteRange(delete))
        site.ask("etcd-1", lambda kv: kv.Compact(compact))
        site.put("etcd-1", b"k")

        async def main() -> list[tuple[int, bool]]:
            call = site.watches("etcd-1").Watch()
            create = etcd.WatchCreateRequest(key=b"k", start_revision=3, prev_kv=True)
            await call.write(etcd.WatchRequest(create_request=create))
            await call.read()
            return [(event.kv.mod_revision, event.HasField("prev_kv")) for event in (await call.read()).events]

        kept = [(3, False)] if quirks.keeps_compacted_deletes else []
        assert site.run(main) == [*kept, (4, False)]


@pytest.mark.parametrize("quirks", QUIRKS, ids=["3.4.23", "mended"])
def test_a_store_is_told_every_change_once_and_no_bookmark_before_what_it_covers(quirks: Quirks) -> None:
    """Watches begin at old revisions while others write: each must replay to the state that its bookmarks claim."""
    with World(seed=1) as world:
        site = EtcdWorld(world, quirks)

        async def main() -> None:
            store = await open_store(site.host, site.url)
            states: dict[int, dict[bytes, bytes]] = {store.revision: {}}

            async def write() -> None:
                state: dict[bytes, bytes] = {}
                for number in range(60):
                    key, value = b"k%d" % (number % 7), b"%d" % number
                    op = Op(key, None if number % 5 == 4 and key in state else value)
                    revision = await store.commit(Txn((op,)))
                    state = {name: old for name, old in state.items() if name != key}
                    if op.value is not None:
                        state[key] = op.value
                    states[revision] = state

            async def follow(after: int, until: asyncio.Event) -> None:
                replayed = dict(states[after])
                async with aclosing(store.watch(*ALL, after_revision=after)) as batches:  # type: ignore[type-var]
                    async for batch in batches:
                        for change in batch.changes:
                            before = change.previous.value if change.previous else None
                            assert replayed.pop(change.record.key, None) == before
                            if not change.deleted:
                                replayed[change.record.key] = change.record.value
                        known = max(revision for revision in states if revision <= batch.revision)
                        if batch.revision in states or not batch.changes:
                            assert replayed == states[known]
                        if until.is_set() and batch.revision >= max(states):
                            return

            done = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(write())
                for _ in range(12):
                    await asyncio.sleep(0.03)
                    group.create_task(follow(sorted(states)[len(states) // 2], done))
                await writing
                done.set()
                await store.commit(Txn((Op(b"end", b""),)))
            await store.close()

        site.run(main)


def test_a_store_does_not_resume_where_a_delete_has_lost_its_previous_value() -> None:
    with World(seed=1) as world:
        site = EtcdWorld(world)

        async def main() -> list[Any]:
            store = await open_store(site.host, site.url)
            await store.commit(Txn((Op(b"k", b"1"),)))
            deleted = await store.commit(Txn((Op(b"k", None),)))
            newest = await store.commit(Txn((Op(b"k", b"2"),)))
            await store.compact(deleted)
            with pytest.raises(CompactedError) as refused:
                await anext(aiter(store.watch(*ALL, after_revision=deleted - 1)))
            assert refused.value.metadata["oldest_revision"] == str(deleted)
            changes: list[Any] = []
            async with aclosing(store.watch(*ALL, after_revision=deleted)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    changes += batch.changes
                    if batch.revision >= newest:
                        break
            await store.close()
            return [(change.record.mod_revision == newest, change.deleted, change.previous) for change in changes]

        assert site.run(main) == [(True, False, None)]


def test_a_store_goes_on_whichever_member_is_lost() -> None:
    with World(seed=5) as world:
        site = EtcdWorld(world)

        async def main() -> None:
            store = await open_store(site.host, site.url)
            revisions = []
            for member in MEMBERS:
                revisions.append(await store.commit(Txn((Op(member.encode(), b"1"),))))
                site.faults.kill(member)
                page = await store.range(*ALL)
                assert [record.key.decode() for record in page.records] == sorted(MEMBERS[: len(revisions)])
                site.faults.restart(member)
                await asyncio.sleep(3)
            assert revisions == sorted(set(revisions))
            await store.close()

        site.run(main)
