"""etcd's watches: the events, their order and parts; beginnings and ends."""

from __future__ import annotations

from rube.store.etcd import rpc_pb2 as etcd
from rube.store.etcd.kv_pb2 import KeyValue
from tests.conformance.etcd.etcd_client import EtcdClient, create, delete_op, put_op, told

ALL = (b"\0", b"\0")


async def test_events_come_in_order_and_those_of_a_revision_in_one_message(client: EtcdClient) -> None:
    await client.put(b"a", b"0")
    async with client.watch(create(*ALL)) as watch:
        created = await watch.read()
        assert (created.created, created.canceled, created.watch_id, created.header.revision) == (True, False, 0, 2)
        await client.put(b"b", b"1")
        await client.txn(put_op(b"z"), put_op(b"c"), delete_op(b"a"))
        await client.delete(b"none")
        await client.put(b"d")
        first = await watch.read()
        assert (told(first), first.header.revision) == ([("PUT", b"b", 3)], 3)
        second = await watch.read()
        assert told(second) == [("PUT", b"z", 4), ("PUT", b"c", 4), ("DELETE", b"a", 4)]
        assert second.events[0].kv == KeyValue(key=b"z", create_revision=4, mod_revision=4, version=1)
        assert second.events[2].kv == KeyValue(key=b"a", mod_revision=4)
        assert told(await watch.read()) == [("PUT", b"d", 5)]


async def test_a_watch_from_an_old_revision_is_told_what_was(client: EtcdClient) -> None:
    await client.put(b"a", b"1")
    await client.put(b"a", b"2")
    await client.put(b"b")
    await client.delete(b"a")
    async with client.watch(create(b"a", start_revision=3)) as watch:
        assert (await watch.read()).created
        past = await watch.read()
        assert (told(past), past.header.revision) == ([("PUT", b"a", 3), ("DELETE", b"a", 5)], 5)
        await client.put(b"a")
        assert told(await watch.read()) == [("PUT", b"a", 6)]


async def test_previous_values_come_if_they_are_asked_for_and_known(client: EtcdClient) -> None:
    await client.put(b"a", b"1")
    await client.put(b"a", b"2")
    await client.delete(b"a")
    await client.compact(3)
    async with client.watch(create(b"a", start_revision=3, prev_kv=True)) as watch:
        await watch.read()
        events = (await watch.read()).events
        assert not events[0].HasField("prev_kv")  # it is compacted
        assert events[1].prev_kv == KeyValue(key=b"a", value=b"2", create_revision=2, mod_revision=3, version=2)
        await client.put(b"a", b"3")
        assert not (await watch.read()).events[0].HasField("prev_kv")


async def test_filters_leave_out_what_nobody_wants(client: EtcdClient) -> None:
    async with client.watch(create(*ALL, filters=["NOPUT"]), create(*ALL, filters=["NODELETE"])) as watch:
        await watch.read()
        await watch.read()
        await client.put(b"a")
        await client.delete(b"a")
        first, second = await watch.read(), await watch.read()
        assert (first.watch_id, told(first)) == (1, [("PUT", b"a", 2)])
        assert (second.watch_id, told(second)) == (0, [("DELETE", b"a", 3)])


async def test_a_watch_from_the_future_waits_for_it(client: EtcdClient) -> None:
    async with client.watch(create(b"a", start_revision=4)) as watch:
        assert (await watch.read()).header.revision == 1
        for _ in range(4):
            await client.put(b"a")
        assert await watch.events(2) == [("PUT", b"a", 4), ("PUT", b"a", 5)]


async def test_a_watch_from_before_the_compaction_is_cancelled_and_told_where_it_can_begin(client: EtcdClient) -> None:
    for _ in range(4):
        await client.put(b"a")
    await client.compact(4)
    async with client.watch(create(b"a", start_revision=3), create(b"a", start_revision=4)) as watch:
        assert [(await watch.read()).watch_id for _ in range(2)] == [0, 1]
        answers = sorted([await watch.read(), await watch.read()], key=lambda answer: answer.watch_id)
        assert (answers[0].watch_id, answers[0].canceled, answers[0].compact_revision) == (0, True, 4)
        assert (answers[0].created, answers[0].header.revision, answers[0].cancel_reason) == (False, 0, "")
        assert told(answers[1]) == [("PUT", b"a", 4), ("PUT", b"a", 5)]


async def test_large_messages_come_in_fragments_if_the_client_takes_them(client: EtcdClient) -> None:
    for number in range(3):
        await client.put(b"k%d" % number, b"x" * 900_000)
    async with client.watch(create(b"k", b"l", start_revision=2, fragment=True)) as watch:
        await watch.read()
        parts = [await watch.read(), await watch.read()]
        assert [(part.fragment, len(part.events), part.header.revision) for part in parts] == [
            (True, 2, 4),
            (False, 1, 4),
        ]
    async with client.watch(create(b"k", b"l", start_revision=2)) as watch:
        await watch.read()
        whole = await watch.read()
        assert (whole.fragment, len(whole.events)) == (False, 3)


async def test_watches_of_a_stream_have_numbers_and_end_one_by_one(client: EtcdClient) -> None:
    async with client.watch(create(b"a", watch_id=5), create(b"a", watch_id=5), create(b"b"), create(b"c")) as watch:
        first, again, *others = [await watch.read() for _ in range(4)]
        assert (first.watch_id, first.created) == (5, True)
        assert (again.watch_id, again.created, again.canceled) == (-1, True, True)
        assert again.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
        assert [other.watch_id for other in others] == [0, 1]
        await watch.cancel_watch(7)  # there is none: no answer
        await watch.cancel_watch(5)
        ended = await watch.read()
        assert (ended.watch_id, ended.canceled, ended.created, ended.cancel_reason) == (5, True, False, "")
        await client.put(b"a")
        await client.put(b"b")
        assert told(await watch.read()) == [("PUT", b"b", 3)]


async def test_a_watch_of_nothing_is_refused_and_one_without_a_key_sees_the_least(client: EtcdClient) -> None:
    async with client.watch(create(b"b", b"a"), create(b"")) as watch:
        empty = await watch.read()
        assert (empty.watch_id, empty.created, empty.canceled) == (-1, True, True)
        assert empty.cancel_reason == "mvcc: watcher range is empty"
        assert (await watch.read()).watch_id == 0
        await client.put(b"\0")
        assert told(await watch.read()) == [("PUT", b"\0", 2)]


async def test_progress_is_told_of_the_whole_stream(client: EtcdClient) -> None:
    await client.put(b"other")
    async with client.watch(create(b"a")) as watch:
        await watch.read()
        await watch.progress()
        progress = await watch.read()
        assert (progress.watch_id, progress.header.revision, len(progress.events)) == (-1, 2, 0)


async def test_progress_can_overtake_what_it_covers(client: EtcdClient) -> None:
    """etcd's bug #15220, which 3.4.23 has: who takes progress for a bookmark loses an event."""
    await client.put(b"a")
    for _ in range(10):  # a real one may happen to look after its watches just then
        async with client.watch(create(b"a", start_revision=2)) as watch:
            await watch.read()
            await watch.progress()
            first, second = await watch.read(), await watch.read()
            if first.watch_id == -1:
                assert first.header.revision == 2
                assert told(second) == [("PUT", b"a", 2)]
                return
    raise AssertionError("it never did")


async def test_a_watch_without_changes_is_silent(client: EtcdClient) -> None:
    async with client.watch(create(b"a")) as watch:
        await watch.read()
        await client.put(b"b")
        assert await watch.silent()


async def test_a_delete_at_the_compacted_revision_is_without_its_previous_value(client: EtcdClient) -> None:
    await client.put(b"a", b"1")
    await client.delete(b"a")
    # Not physically: a real etcd still has it for a moment, or has it no more.
    await client.kv.Compact(etcd.CompactionRequest(revision=3))
    await client.put(b"b")
    async with client.watch(create(b"a", b"z", start_revision=3, prev_kv=True)) as watch:
        await watch.read()
        events = list((await watch.read()).events)
        if len(events) == 2:
            assert events[0].kv == KeyValue(key=b"a", mod_revision=3)
            assert not events[0].HasField("prev_kv")
        assert events[-1].kv.key == b"b"
