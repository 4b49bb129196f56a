"""The object that a write makes: the pure core."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from hypothesis import given
from hypothesis import strategies as st

from rube.api import Metadata, Object, OwnerReference, Unit, UnitStatus
from rube.api.types import pack
from rube.server.objects import decode, prepare_put, prepare_status
from rube.server.stored_object import StoredObject, decode_object, encode_object, spec_field, status_field
from rube.store import Record

UID = "0" * 32
NOW_NS = 1_700_000_000_123_456_789
STATUS = pack(UnitStatus(active_state="active"))


def wanted(description: str = "x", **metadata: Any) -> StoredObject:
    spec = pack(Unit(description=description))
    return StoredObject(Metadata(namespace="system", name="a", **metadata), spec_field(spec.type_url, spec.value))


def stored(parts: StoredObject, *, uid: str = UID, revision: int = 5) -> StoredObject:
    """`parts` as they are read back after their object was created at `revision`."""
    prepared = prepare_put(None, parts, now_ns=NOW_NS, uid=uid)
    assert prepared is not None
    return decode_object(Record(b"key", encode_object(prepared), revision, revision))


def bytes_of(parts: StoredObject) -> list[bytes]:
    return [parts.metadata.SerializeToString(deterministic=True), parts.spec, parts.status]


texts = st.text(max_size=300)
metadatas = st.builds(
    Metadata, namespace=texts, name=texts, labels=st.dictionaries(texts, texts, max_size=3), uid=texts
)
values = st.binary(max_size=300) | st.integers(0, 70_000).map(bytes)
anys = st.builds(AnyMessage, type_url=st.text(min_size=1, max_size=300), value=values)


@given(metadatas, anys, st.none() | anys)
def test_the_bytes_of_parts_are_the_objects_own(
    metadata: Metadata, spec: AnyMessage, status: AnyMessage | None
) -> None:
    parts = StoredObject(
        metadata,
        spec_field(spec.type_url, spec.value),
        status_field(status.type_url, status.value) if status is not None else b"",
    )
    obj = Object(metadata=metadata, spec=spec, status=status)
    assert encode_object(parts) == obj.SerializeToString(deterministic=True)
    again = decode_object(Record(b"key", encode_object(parts), 3, 8))
    assert (again.metadata.create_revision, again.metadata.revision) == (3, 8)
    assert (again.spec, again.status) == (parts.spec, parts.status)
    assert again.status_any() == status
    assert encode_object(again) == obj.SerializeToString(deterministic=True)


def test_what_is_created_has_uid_time_and_generation_and_no_status() -> None:
    given_status = wanted(uid="theirs", generation=9, revision=3, create_revision=2)
    given_status.status = status_field(STATUS.type_url, STATUS.value)
    prepared = prepare_put(None, given_status, now_ns=NOW_NS, uid=UID)
    assert prepared is not None
    assert prepared.metadata.uid == UID
    assert prepared.metadata.generation == 1
    assert prepared.metadata.create_time.ToNanoseconds() == NOW_NS
    assert not prepared.status


def test_stored_bytes_hold_no_revision() -> None:
    prepared = prepare_put(None, wanted(revision=3, create_revision=2), now_ns=NOW_NS, uid=UID)
    assert prepared is not None
    metadata = Object.FromString(encode_object(prepared)).metadata
    assert (metadata.revision, metadata.create_revision) == (0, 0)


def test_a_decoded_object_has_the_records_revisions() -> None:
    record = Record(b"key", encode_object(wanted()), 3, 8)
    assert (decode(record).metadata.create_revision, decode(record).metadata.revision) == (3, 8)


def test_the_same_again_is_no_change() -> None:
    current = stored(wanted(labels={"x": "1", "y": "2"}, annotations={"z": "3"}))
    again = wanted(labels={"y": "2", "x": "1"}, annotations={"z": "3"})
    assert prepare_put(current, again, now_ns=NOW_NS + 1, uid="other") is None
    assert prepare_put(current, current, now_ns=NOW_NS + 1, uid="other") is None


def test_a_new_status_alone_is_no_change_of_a_put() -> None:
    current = stored(wanted())
    with_status = prepare_status(current, STATUS)
    assert with_status is not None
    assert prepare_put(with_status, wanted(), now_ns=NOW_NS, uid="other") is None


def test_a_put_keeps_the_status() -> None:
    with_status = prepare_status(stored(wanted()), STATUS)
    assert with_status is not None
    changed = prepare_put(with_status, wanted("y"), now_ns=NOW_NS, uid="other")
    assert changed is not None
    assert changed.status_any() == STATUS


def test_an_owner_is_a_change_but_no_new_generation() -> None:
    owner = OwnerReference(type="api.Node", name="n", uid=UID)
    changed = prepare_put(stored(wanted()), wanted(owner_references=[owner]), now_ns=NOW_NS, uid="other")
    assert changed is not None
    assert (changed.metadata.generation, list(changed.metadata.owner_references)) == (1, [owner])


def test_neither_argument_is_changed() -> None:
    current, new = stored(wanted(labels={"node": "n1"})), wanted("y", labels={"node": ""})
    before = (bytes_of(current), bytes_of(new))
    changed = prepare_put(current, new, now_ns=NOW_NS, uid="other")
    with_status = prepare_status(current, STATUS)
    assert changed is not None
    assert with_status is not None
    encode_object(changed)
    encode_object(with_status)
    assert (bytes_of(current), bytes_of(new)) == before


def test_the_same_status_is_no_change_and_the_first_empty_one_is() -> None:
    current = stored(wanted())
    status = pack(UnitStatus())
    first = prepare_status(current, status)
    assert first is not None
    assert first.status_any() == status
    assert prepare_status(first, status) is None


labels = st.dictionaries(st.sampled_from(["node", "a", "b"]), st.sampled_from(["", "1", "2"]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), labels), min_size=1, max_size=6))
def test_any_series_of_puts_keeps_identity_counts_specs_and_resolves_the_binding(
    puts: list[tuple[str, dict[str, str]]],
) -> None:
    current: StoredObject | None = None
    generation, spec, binding = 0, "", ""
    for revision, (description, given_labels) in enumerate(puts, start=1):
        changed = prepare_put(current, wanted(description, labels=given_labels), now_ns=NOW_NS + revision, uid=UID)
        binding = given_labels.get("node", binding)
        generation += description != spec
        spec = description
        expected = {name: value for name, value in given_labels.items() if name != "node"}
        expected |= {"node": binding} if binding else {}
        if changed is not None:
            current = decode_object(Record(b"key", encode_object(changed), 1, revision))
        assert current is not None
        assert dict(current.metadata.labels) == expected
        assert current.metadata.generation == generation
        assert current.metadata.create_time.ToNanoseconds() == NOW_NS + 1


@pytest.mark.parametrize("annotation", ["rube/move-to", "rube/restart"])
def test_a_request_stays_until_it_is_taken_back(annotation: str) -> None:
    asked = stored(wanted(annotations={annotation: "worker-2#1"}))
    assert prepare_put(asked, wanted(), now_ns=2, uid="") is None, "a put that omits it changes nothing"
    removed = prepare_put(asked, wanted(annotations={annotation: ""}), now_ns=2, uid="")
    assert removed is not None
    assert annotation not in removed.metadata.annotations
