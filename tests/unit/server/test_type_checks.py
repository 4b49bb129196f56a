"""The problems that a stored object has with the next version of its type, and the vetoes of writes meanwhile."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from rube.api import Object, TypeGate
from rube.api.keys import key_of
from rube.api.types import BUILTIN, pack
from rube.server.known_types import Gate, Snapshot
from rube.server.stored_object import StoredObject, spec_field, status_field
from rube.server.type_checks import problems_of, vetoes
from tests.pushed_types import BACKUP, backup, backup_type, kind_from

BEFORE = kind_from(backup_type())
"""It has `schedule` = 1 and `target` = 2, both text, and a status."""


def with_status(obj: Object, **fields: object) -> Object:
    assert BEFORE.status is not None
    obj.status.CopyFrom(pack(BEFORE.status(**fields)))
    return obj


def test_an_object_that_fits_has_no_problem() -> None:
    after = kind_from(backup_type({"schedule": 1, "target": 2, "keep": 3}))
    assert list(problems_of(with_status(backup("a", schedule="daily"), state="ok"), BEFORE, after)) == []


def test_a_field_that_is_gone_is_named_by_its_number() -> None:
    after = kind_from(backup_type({"schedule": 1}))
    found = list(problems_of(backup("a", target="/mnt"), BEFORE, after))
    assert found == ["it has field 2 in spec set, which the new version does not know"]


def test_a_value_that_reads_as_another_one_is_a_problem() -> None:
    before = kind_from(backup_type({"size": 1}, types={"size": FieldDescriptorProto.TYPE_INT64}))
    after = kind_from(backup_type({"size": 1}, types={"size": FieldDescriptorProto.TYPE_INT32}))
    obj = Object(spec=pack(before.spec(size=2**40)))
    assert list(problems_of(obj, before, after)) == ["a value in its spec is another one in the new acme.Backup"]


def test_bytes_that_the_new_version_cannot_read_are_a_problem() -> None:
    before = kind_from(backup_type({"data": 1}, types={"data": FieldDescriptorProto.TYPE_BYTES}))
    obj = Object(spec=pack(before.spec(data=b"\xff")))
    assert list(problems_of(obj, before, BEFORE)) == ["its spec cannot be read as the new acme.Backup"]


def test_a_status_needs_a_version_with_that_status() -> None:
    without = kind_from(backup_type(status=""))
    found = list(problems_of(with_status(backup("a"), state="ok"), BEFORE, without))
    assert found == ["its status is acme.BackupStatus, and the new version's is none"]
    other = backup("a")
    other.status.CopyFrom(Any(type_url="rube/acme.OtherStatus"))
    found = list(problems_of(other, BEFORE, BEFORE))
    assert found == ["its status is acme.OtherStatus, and the new version's is acme.BackupStatus"]


def parts_of(obj: Object) -> StoredObject:
    status = status_field(obj.status.type_url, obj.status.value) if obj.HasField("status") else b""
    return StoredObject(obj.metadata, spec_field(obj.spec.type_url, obj.spec.value), status)


def veto_of(gate: Gate, obj: Object, before: Object | None = None) -> str:
    """The problem with which a write of the object, over `before`, ends the work at its type; "" if it does not."""
    name = key_of(obj).to_bytes()
    now = Snapshot(BUILTIN.with_kind(BEFORE), {BACKUP: gate})
    ops = vetoes(now, {name: parts_of(obj)}, {name: None if before is None else parts_of(before)})
    return TypeGate.FromString(ops[0].value or b"").veto.problem if ops else ""


SMALLER = Gate(1, "work", deletion=False, candidate=kind_from(backup_type({"schedule": 1})), veto=None)


def test_a_write_ends_a_comparison_only_by_what_it_changes() -> None:
    gone = "it has field 2 in spec set, which the new version does not know"
    assert veto_of(SMALLER, backup("a", target="/mnt")) == gone
    assert veto_of(SMALLER, backup("a", target="/mnt"), before=backup("a", schedule="daily")) == gone
    assert (
        veto_of(SMALLER, with_status(backup("a", target="/mnt"), state="ok"), before=backup("a", target="/mnt")) == ""
    )
    assert veto_of(SMALLER, backup("a", schedule="daily")) == ""


def test_a_reported_status_ends_a_comparison_with_a_version_that_has_none() -> None:
    gate = SMALLER._replace(candidate=kind_from(backup_type(status="")))
    reported = with_status(backup("a"), state="ok")
    assert "the new version's is none" in veto_of(gate, reported, before=backup("a"))
    assert veto_of(gate, reported, before=reported) == ""


def test_any_write_ends_a_deletion_or_a_comparison_that_this_server_cannot_make() -> None:
    deletion = Gate(1, "work", deletion=True, candidate=None, veto=None)
    unreadable = Gate(1, "work", deletion=False, candidate=None, veto=None, unreadable="too new")
    idle = Gate(1, "work", deletion=False, candidate=None, veto=None)
    assert veto_of(deletion, backup("a")) == "it is there"
    assert veto_of(unreadable, backup("a")) == "its apiserver cannot compare it (too new)"
    assert veto_of(idle, backup("a")) == ""
