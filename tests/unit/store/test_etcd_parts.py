"""The parts of a store in etcd that need no etcd: its keys, its descriptor, its tail, its reader of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api.errors import CompactedError, DataLossError, FailedPreconditionError, InvalidArgumentError
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.checking import compare_members
from rube.store.etcd.descriptor import LOADING, READY, check_ready, decode_descriptor, encode_descriptor
from rube.store.etcd.kv_pb2 import Event, KeyValue
from rube.store.etcd.layout import Layout
from rube.store.etcd.log import LogReader, Revision
from rube.store.etcd.tail import RevisionTail
from rube.store.etcd.values import decode_value, encode_value, to_record
from rube.store.ports import Change, Record
from rube.store.urls import parse_store_url

URL = parse_store_url("etcd://a:2379/rube")

# Keys


@given(st.binary(), st.binary())
def test_keys_keep_their_order_and_stay_apart_from_marks(one: bytes, other: bytes) -> None:
    layout = Layout("some/prefix")
    assert (layout.key(one) < layout.key(other)) == (one < other)
    assert layout.record_key(layout.key(one)) == one
    assert layout.key(one) not in (layout.descriptor_key, layout.tick_key)
    for key in (layout.key(one), layout.descriptor_key, layout.tick_key):
        assert layout.start <= key < layout.end


@given(st.binary())
def test_a_store_whose_prefix_goes_on_does_not_hide_in_the_records(key: bytes) -> None:
    outer, inner = Layout("a"), Layout("a/b")
    for theirs in (inner.key(key), inner.descriptor_key, inner.tick_key):
        assert outer.record_key(theirs) is None
        assert outer.may_be_of_another_store(theirs)
    assert not outer.may_be_of_another_store(outer.key(key))


@pytest.mark.parametrize("prefix", ["a/k", "a/m/b", "a/b/k", "x" * 257])
def test_a_prefix_that_could_hide_in_another_store_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidArgumentError, match="prefix"):
        Layout(prefix)


def test_the_prefix_is_rube_where_none_is_named() -> None:
    assert Layout("").key(b"a") == b"rube/k/a"
    assert Layout("k").key(b"a") == b"k/k/a"


# The descriptor


@pytest.mark.parametrize("state", [READY, LOADING])
def test_a_mark_comes_back(state: str) -> None:
    value = encode_descriptor("0" * 32, state)
    descriptor = decode_descriptor(KeyValue(key=b"rube/m/store", value=value, mod_revision=7), "etcd://a")
    assert descriptor == ("0" * 32, state, 7)
    if state == LOADING:
        with pytest.raises(FailedPreconditionError, match="restore again"):
            check_ready(descriptor, "etcd://a")


@pytest.mark.parametrize(
    ("format_", "remedy"), [("rube etcd 1", "back it up with the version"), ("rube etcd 3", "use the version")]
)
def test_a_mark_of_another_format_is_refused_with_the_remedy(format_: str, remedy: str) -> None:
    with pytest.raises(FailedPreconditionError, match=f"{format_}.*'rube etcd 2': {remedy} of Rube that wrote it"):
        decode_descriptor(KeyValue(value=f"{format_}\n{'0' * 32}\nready\n".encode()), "etcd://a")


@given(st.binary(max_size=80))
def test_a_mark_is_whole_or_damaged(value: bytes) -> None:
    with pytest.raises(DataLossError, match="rube/m/store of store etcd://a is damaged"):
        decode_descriptor(KeyValue(key=b"rube/m/store", value=value), "etcd://a")


# Values

KEYS = st.binary(min_size=1, max_size=20)


@given(KEYS, st.binary())
def test_a_value_comes_back(key: bytes, value: bytes) -> None:
    stored = encode_value(key, value)
    assert len(stored) == len(value) + 4
    assert to_record(key, KeyValue(value=stored, create_revision=3, mod_revision=7), URL) == Record(key, value, 3, 7)


@given(KEYS, st.binary(), st.data())
def test_a_changed_or_shortened_value_is_not_sound(key: bytes, value: bytes, data: st.DataObject) -> None:
    stored = bytearray(encode_value(key, value))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= data.draw(st.integers(1, 255))
    assert decode_value(key, bytes(stored)) is None
    assert decode_value(key, encode_value(key, value)[: data.draw(st.integers(0, 3))]) is None


@given(st.integers(0, 2**32 - 1), st.binary())
def test_a_value_in_another_keys_place_is_not_sound(number: int, value: bytes) -> None:
    """A CRC-32 tells all keys of one length apart that differ in four bytes next to each other."""
    assert decode_value(b"key/%s" % ((number + 1) % 2**32).to_bytes(4, "big"), _encoded(number, value)) is None


def _encoded(number: int, value: bytes) -> bytes:
    return encode_value(b"key/%s" % number.to_bytes(4, "big"), value)


@pytest.mark.parametrize("stored", [b"", b"abc", b"value", b"value\0\0\0\0"])
def test_damage_names_store_revision_key_and_remedy(stored: bytes) -> None:
    with pytest.raises(DataLossError) as caught:
        to_record(b"a/b", KeyValue(value=stored, mod_revision=7), URL)
    assert caught.value.message == (
        "the value in store etcd://a:2379/rube of revision 7 (key b'a/b') does not match its checksum: "
        "restore a backup into another prefix"
    )
    assert caught.value.metadata == {"key": "b'a/b'", "revision": "7"}


# The tail


def revision(number: int, *keys: bytes, size_bytes: int = 0) -> Revision:
    changes = [Change(Record(key, b"x" * size_bytes, number, number), False, None) for key in keys]
    return Revision(number, changes, False)


def keys_of(changes: Sequence[Change]) -> list[bytes]:
    return [change.record.key for change in changes]


def test_a_tail_gives_the_changes_of_a_range_and_how_far_they_reach() -> None:
    tail = RevisionTail(10, 10_000)
    tail.extend([revision(12, b"a", b"b"), revision(15, b"c"), revision(16)])
    found, reached = tail.changes(b"b", b"d", 10, 1000)
    assert (keys_of(found), reached) == ([b"b", b"c"], 16)
    found, reached = tail.changes(b"a", b"d", 12, 1000)
    assert (keys_of(found), reached) == ([b"c"], 16)


def test_a_tail_splits_no_revision() -> None:
    tail = RevisionTail(0, 10_000)
    tail.extend([revision(number, b"a", b"b", b"c") for number in (1, 2, 3)])
    found, reached = tail.changes(b"a", b"z", 0, 4)
    assert (len(found), reached) == (6, 2)


def test_a_tail_gives_what_comes_before_damage_and_then_the_damage_to_those_whose_key_it_is() -> None:
    tail = RevisionTail(0, 10_000)
    error = DataLossError("b is damaged", key="b")
    tail.extend([revision(1, b"b"), revision(2, b"a")._replace(damaged=((b"b", error),)), revision(3, b"b")])
    found, reached = tail.changes(b"a", b"z", 0, 1000)
    assert (keys_of(found), reached) == ([b"b"], 1)
    with pytest.raises(DataLossError, match="b is damaged"):
        tail.changes(b"a", b"z", 1, 1000)
    found, reached = tail.changes(b"a", b"b", 0, 1000)
    assert (keys_of(found), reached) == ([b"a"], 3)


def test_a_tail_forgets_its_oldest_revisions_and_says_from_where_on_it_is_whole() -> None:
    tail = RevisionTail(0, 3000)
    tail.extend([revision(number, b"k", size_bytes=1000) for number in range(1, 8)])
    assert (tail.start_revision, tail.revision) == (5, 7)
    found, _ = tail.changes(b"a", b"z", tail.start_revision, 1000)
    assert [change.record.mod_revision for change in found] == [6, 7]
    tail.restart(20)
    assert (tail.start_revision, tail.revision, tail.is_met) == (20, 20, False)


# The log


class Script:
    """A stream that delivers these messages."""

    def __init__(self, *messages: rpc.WatchResponse) -> None:
        self._messages = list(messages)

    async def read(self) -> Any:
        return self._messages.pop(0)


def put(number: int, key: bytes, *, version: int = 1, previous: bool = False) -> Event:
    full = Layout("rube").key(key)
    value = encode_value(key, b"")
    event = Event(
        type=Event.PUT, kv=KeyValue(key=full, value=value, mod_revision=number, create_revision=1, version=version)
    )
    if previous:
        event.prev_kv.CopyFrom(event.kv)
        event.prev_kv.mod_revision, event.prev_kv.version = number - 1, version - 1
    return event


def reader(*messages: rpc.WatchResponse) -> LogReader:
    client: Any = SimpleNamespace(url=URL)
    member: Any = None
    stream: Any = Script(*messages)
    return LogReader(client, Layout("rube"), member, stream)


def test_a_revision_that_comes_in_fragments_is_put_together() -> None:
    log = reader(
        rpc.WatchResponse(events=[put(1, b"a"), put(2, b"a", version=2, previous=True), put(2, b"b")], fragment=True),
        rpc.WatchResponse(events=[put(2, b"c"), put(2, b"d")], fragment=True),
        rpc.WatchResponse(events=[put(2, b"e"), put(3, b"f")]),
        rpc.WatchResponse(events=[put(4, b"g")]),
    )

    async def main() -> list[tuple[int, list[bytes]]]:
        return [(entry.revision, keys_of(entry.changes)) for _ in range(3) for entry in await log.read()]

    assert asyncio.run(main()) == [(1, [b"a"]), (2, [b"a", b"b", b"c", b"d", b"e"]), (3, [b"f"]), (4, [b"g"])]


@pytest.mark.parametrize(
    "event",
    [
        Event(type=Event.DELETE, kv=KeyValue(key=b"rube/k/a", mod_revision=9)),
        put(9, b"a", version=2),
    ],
    ids=["delete", "put"],
)
def test_a_change_without_what_was_before_it_is_a_compacted_one(event: Event) -> None:
    with pytest.raises(CompactedError) as caught:
        asyncio.run(reader(rpc.WatchResponse(events=[event])).read())
    assert caught.value.metadata["oldest_revision"] == "9"


def test_a_damaged_value_of_now_or_before_is_noted_beside_the_sound_changes() -> None:
    sound, now, before = put(5, b"a"), put(5, b"b"), put(5, b"c", version=2, previous=True)
    now.kv.value = before.prev_kv.value = b"damaged"
    gone = Event(type=Event.DELETE, kv=KeyValue(key=b"rube/k/d", mod_revision=5), prev_kv=now.kv)
    (found,) = asyncio.run(reader(rpc.WatchResponse(events=[sound, now, before, gone])).read())
    assert keys_of(found.changes) == [b"a"]
    assert [key for key, _ in found.damaged] == [b"b", b"c", b"d"]
    assert keys_of(found.within(b"a", b"b")) == [b"a"]
    for key in (b"b", b"c", b"d"):
        with pytest.raises(DataLossError, match="checksum"):
            found.within(key, key + b"\0")


def test_a_compacted_start_is_told_with_the_revision_to_resume_from() -> None:
    with pytest.raises(CompactedError) as caught:
        asyncio.run(reader(rpc.WatchResponse(canceled=True, compact_revision=7)).read())
    assert caught.value.metadata["oldest_revision"] == "7"


def test_marks_and_other_stores_below_the_prefix_are_revisions_without_changes() -> None:
    layout = Layout("rube")
    events = [
        Event(kv=KeyValue(key=key, mod_revision=number, version=1))
        for number, key in ((1, layout.tick_key), (2, layout.descriptor_key), (3, b"rube/other/k/a"))
    ]
    found = asyncio.run(reader(rpc.WatchResponse(events=events)).read())
    assert list(found) == [Revision(1, [], False), Revision(2, [], True), Revision(3, [], False)]


# The comparison of members


class Hashes:
    """A client whose members have these hashes, as of these compactions."""

    def __init__(self, **hashes: tuple[int, int]) -> None:
        self._hashes = hashes
        self.members = [SimpleNamespace(target=name) for name in hashes]

    async def ask(self, member: Any, *_: object) -> rpc.HashKVResponse:
        compact_revision, value = self._hashes[member.target]
        return rpc.HashKVResponse(compact_revision=compact_revision, hash=value)


@pytest.mark.parametrize(
    ("hashes", "differ"),
    [
        ({"a": (5, 1), "b": (5, 1), "c": (5, 1)}, []),
        ({"a": (5, 1), "b": (5, 2), "c": (5, 1)}, ["a, c and b"]),
        ({"a": (5, 1), "b": (9, 2), "c": (5, 1)}, []),  # what is compacted differently is no sign of damage
    ],
)
def test_members_that_hold_different_things_are_named(hashes: dict[str, tuple[int, int]], differ: list[str]) -> None:
    async def main() -> list[str]:
        client: Any = Hashes(**hashes)
        return [damage.where async for damage in compare_members(client, 100)]

    assert asyncio.run(main()) == differ
