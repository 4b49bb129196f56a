"""The order of two versions of a type."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from rube.api import Column, Object, Type
from rube.api.types import pack
from rube.api.types.versions import Standing, compare
from tests.pushed_types import backup_type, kind_from

PRESENT = {"schedule": 1, "target": 2}


def removed(*names: str) -> Object:
    """A version without some fields, whose numbers and names are reserved."""
    obj = backup_type({name: number for name, number in PRESENT.items() if name not in names})
    pushed = Type.FromString(obj.spec.value)
    message = pushed.files.file[0].message_type[0]
    for name in names:
        message.reserved_range.add(start=PRESENT[name], end=PRESENT[name] + 1)
        message.reserved_name.append(name)
    obj.spec.CopyFrom(pack(pushed))
    return obj


@pytest.mark.parametrize(
    ("own", "standing"),
    [
        (backup_type(), Standing.SAME),
        (backup_type(file="backup.proto"), Standing.SAME),
        (backup_type({**PRESENT, "keep": 3}), Standing.NEWER),
        (backup_type({"schedule": 1}), Standing.OLDER),
        (removed("target"), Standing.NEWER),
        (backup_type({"plan": 1, "target": 2}), Standing.ANOTHER),
        (backup_type(columns=[Column(name="TARGET", path="spec.target")]), Standing.ANOTHER),
        (backup_type({"schedule": 1, "keep": 3}), Standing.BREAKING),
        (backup_type(types={"target": FieldDescriptorProto.TYPE_INT64}), Standing.BREAKING),
    ],
)
def test_a_version_stands_to_the_one_that_a_cluster_has(own: Object, standing: Standing) -> None:
    assert compare(kind_from(backup_type()), kind_from(own)).standing is standing


def test_what_breaks_is_told() -> None:
    own = backup_type({"schedule": 1, "keep": 3})
    (breakage,) = compare(kind_from(backup_type()), kind_from(own)).breakages
    assert breakage.path == "acme.Backup.target"


def test_names_that_a_compiler_adds_make_no_other_version() -> None:
    own = backup_type({"keep_days": 1})
    pushed = Type.FromString(own.spec.value)
    pushed.files.file[0].message_type[0].field[0].json_name = "keepDays"
    compiled = Object(metadata=own.metadata, spec=pack(pushed))
    assert compare(kind_from(own), kind_from(compiled)).standing is Standing.SAME
    pushed.files.file[0].message_type[0].field[0].json_name = "days"
    compiled.spec.CopyFrom(pack(pushed))
    assert compare(kind_from(own), kind_from(compiled)).standing is Standing.ANOTHER
