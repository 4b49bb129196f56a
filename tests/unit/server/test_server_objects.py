"""What a write makes of an object: the pure core."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rube import api_pb2
from rube.api import registry, systemd_pb2
from rube.server.objects import decode, encode, prepare_put, prepare_status
from rube.store import Record

UID = "0" * 32
NOW_NS = 1_700_000_000_123_456_789


def wanted(description: str = "x", **metadata: Any) -> api_pb2.Object:
    return api_pb2.Object(
        metadata=api_pb2.Metadata(namespace="system", name="a", **metadata),
        spec=registry.pack(systemd_pb2.Unit(description=description)),
    )


def stored(obj: api_pb2.Object, *, uid: str = UID, revision: int = 5) -> api_pb2.Object:
    """`obj` as it is read back after it was created at `revision`."""
    prepared = prepare_put(None, obj, now_ns=NOW_NS, uid=uid)
    assert prepared is not None
    return decode(Record(b"key", encode(prepared), revision, revision))


def test_what_is_created_has_uid_time_and_generation_and_no_status() -> None:
    given_status = wanted(uid="theirs", generation=9, revision=3, create_revision=2)
    given_status.status.CopyFrom(registry.pack(systemd_pb2.UnitStatus(active_state="active")))
    prepared = prepare_put(None, given_status, now_ns=NOW_NS, uid=UID)
    assert prepared is not None
    assert prepared.metadata.uid == UID
    assert prepared.metadata.generation == 1
    assert prepared.metadata.create_time.ToNanoseconds() == NOW_NS
    assert not prepared.HasField("status")


def test_stored_bytes_hold_no_revision() -> None:
    prepared = prepare_put(None, wanted(revision=3, create_revision=2), now_ns=NOW_NS, uid=UID)
    assert prepared is not None
    metadata = api_pb2.Object.FromString(encode(prepared)).metadata
    assert (metadata.revision, metadata.create_revision) == (0, 0)


def test_a_decoded_object_has_the_records_revisions() -> None:
    record = Record(b"key", wanted().SerializeToString(deterministic=True), 3, 8)
    assert (decode(record).metadata.create_revision, decode(record).metadata.revision) == (3, 8)


def test_the_same_again_is_no_change() -> None:
    current = stored(wanted(labels={"x": "1", "y": "2"}, annotations={"z": "3"}))
    again = wanted(labels={"y": "2", "x": "1"}, annotations={"z": "3"})
    assert prepare_put(current, again, now_ns=NOW_NS + 1, uid="other") is None
    assert prepare_put(current, current, now_ns=NOW_NS + 1, uid="other") is None


def test_a_new_status_alone_is_no_change_of_a_put() -> None:
    current = stored(wanted())
    with_status = prepare_status(current, registry.pack(systemd_pb2.UnitStatus(active_state="active")))
    assert with_status is not None
    assert prepare_put(with_status, wanted(), now_ns=NOW_NS, uid="other") is None


def test_an_owner_is_a_change_but_no_new_generation() -> None:
    owner = api_pb2.OwnerReference(type="api.Node", name="n", uid=UID)
    changed = prepare_put(stored(wanted()), wanted(owner_references=[owner]), now_ns=NOW_NS, uid="other")
    assert changed is not None
    assert (changed.metadata.generation, list(changed.metadata.owner_references)) == (1, [owner])


def test_neither_argument_is_changed() -> None:
    current, new = stored(wanted(labels={"node": "n1"})), wanted("y", labels={"node": ""})
    before = (current.SerializeToString(deterministic=True), new.SerializeToString(deterministic=True))
    assert prepare_put(current, new, now_ns=NOW_NS, uid="other") is not None
    assert (current.SerializeToString(deterministic=True), new.SerializeToString(deterministic=True)) == before


def test_the_same_status_is_no_change_and_the_first_empty_one_is() -> None:
    current = stored(wanted())
    status = registry.pack(systemd_pb2.UnitStatus())
    first = prepare_status(current, status)
    assert first is not None
    assert first.HasField("status")
    assert prepare_status(first, status) is None


labels = st.dictionaries(st.sampled_from(["node", "a", "b"]), st.sampled_from(["", "1", "2"]), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["x", "y"]), labels), min_size=1, max_size=6))
def test_any_series_of_puts_keeps_identity_counts_specs_and_resolves_the_binding(
    puts: list[tuple[str, dict[str, str]]],
) -> None:
    current: api_pb2.Object | None = None
    generation, spec, binding = 0, "", ""
    for revision, (description, given_labels) in enumerate(puts, start=1):
        changed = prepare_put(current, wanted(description, labels=given_labels), now_ns=NOW_NS + revision, uid=UID)
        binding = given_labels.get("node", binding)
        generation += description != spec
        spec = description
        expected = {name: value for name, value in given_labels.items() if name != "node"}
        expected |= {"node": binding} if binding else {}
        if changed is not None:
            current = decode(Record(b"key", encode(changed), 1, revision))
        assert current is not None
        assert dict(current.metadata.labels) == expected
        assert current.metadata.generation == generation
        assert current.metadata.create_time.ToNanoseconds() == NOW_NS + 1
