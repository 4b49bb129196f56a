"""Two types that bring different files of one name."""

from __future__ import annotations

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from rube.api import Type
from rube.api.types.pushed import checked_kind
from tests.pushed_types import backup_type


def test_two_types_may_bring_files_of_one_name() -> None:
    for package, kind in (("acme", FieldDescriptorProto.TYPE_STRING), ("zoo", FieldDescriptorProto.TYPE_INT32)):
        name = f"{package}.Backup"
        pushed = backup_type(
            {"target": 1},
            name=name,
            file="backup.proto",
            types={"target": kind},
            transitions=[{"id": "same", "message": "no", "expression": "old.target == new.target"}],
        )
        found = checked_kind(name, Type.FromString(pushed.spec.value))
        value = "a" if package == "acme" else 1
        assert [each.rule for each in found.rules.violations(found.spec(target=value), found.spec())] == ["same"]
