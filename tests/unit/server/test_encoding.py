"""Stored bytes with their revisions appended parse as the objects that they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rube.api import GetResponse, ListResponse, Metadata, Object, Unit, UnitStatus, WatchResponse
from rube.api.types import BUILTIN, pack
from rube.server.encoding import delete_event, get_object, list_item, update_event, watch_response
from rube.server.objects import decode, size_in_response
from rube.server.stored_object import labels_of
from rube.store import Record

REVISIONS = st.integers(1, 2**63)
WORDS = st.text("abcz", max_size=200)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Objects as the server stores them: small and large, with and without labels, owners, finalizers and status."""
    metadata = Metadata(namespace=draw(WORDS), name=draw(WORDS), uid=draw(WORDS), generation=draw(st.integers(0, 300)))
    metadata.labels.update(draw(st.dictionaries(WORDS, WORDS, max_size=4)))
    metadata.annotations.update(draw(st.dictionaries(WORDS, WORDS, max_size=2)))
    metadata.finalizers.extend(draw(st.lists(WORDS, max_size=2)))
    for _ in range(draw(st.integers(0, 2))):
        metadata.owner_references.add(name=draw(WORDS), uid=draw(WORDS))
    metadata.create_time.FromNanoseconds(draw(st.integers(0, 10**18)))
    spec = Unit(description="x" * draw(st.integers(0, 20_000)))
    spec.service.exec.start.append("/bin/true")
    obj = Object(metadata=metadata, spec=pack(spec))
    if draw(st.booleans()):
        obj.status.Pack(UnitStatus(message=draw(WORDS)), "rube/")
    created = draw(REVISIONS)
    return Record(b"k", obj.SerializeToString(deterministic=True), created, created + draw(st.integers(0, 1000)))


def same(found: Object, record: Record, revision: int) -> None:
    """The object is the stored one, in all of protobuf's senses."""
    expected = decode(record)
    expected.metadata.revision = revision
    assert found == expected
    assert found.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert BUILTIN.unpack(found.spec) == BUILTIN.unpack(expected.spec)


@given(records(), st.lists(records(), max_size=3), st.integers(0, 1000))
def test_responses_hold_the_objects_that_are_stored(first: Record, others: list[Record], later: int) -> None:
    stored = [first, *others]
    ended = first.mod_revision + later
    events = [*map(update_event, stored), delete_event(first, ended)]
    response = WatchResponse.FromString(watch_response(b"".join(events), ended, "store"))
    assert (response.revision, response.store_id) == (ended, "store")
    for event, record in zip(response.events, stored, strict=False):
        assert event.WhichOneof("event") == "update"
        same(event.update, record, record.mod_revision)
    assert response.events[-1].WhichOneof("event") == "delete"
    same(response.events[-1].delete, first, ended)

    items = ListResponse.FromString(b"".join(map(list_item, stored))).items
    for item, record in zip(items, stored, strict=True):
        same(item, record, record.mod_revision)
    same(GetResponse.FromString(get_object(first)).object, first, first.mod_revision)


@given(records())
def test_what_stands_around_an_object_is_bounded(record: Record) -> None:
    for encode in (update_event, list_item, get_object):
        assert len(encode(record)) <= size_in_response(record)


@given(records())
def test_labels_are_read_without_the_rest(record: Record) -> None:
    cut = record._replace(value=record.value[: record.value.index(pack(Unit()).type_url.encode())])
    assert labels_of(record) == labels_of(cut) == dict(decode(record).metadata.labels)
