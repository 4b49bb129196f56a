from __future__ import annotations

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import NodeStatus, Service, Unit, UnitStatus
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN


def test_message_class_finds_nested_messages_and_statuses() -> None:
    assert BUILTIN.message_class("api.systemd.UnitStatus") is UnitStatus
    assert BUILTIN.message_class("api.systemd.Service.Exec") is Service.Exec


def test_an_unknown_type_is_answered_with_the_near_one() -> None:
    with pytest.raises(InvalidArgumentError, match=r"'api.systemd.Unitt'; did you mean 'api.systemd.Unit'\?"):
        BUILTIN.message_class("api.systemd.Unitt")


def test_a_type_far_from_all_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(
        InvalidArgumentError,
        match=r"known: api\.Lease, api\.Node, api\.Type, api\.systemd\.Unit, auth\.Binding, auth\.Revocation, "
        r"auth\.Role, auth\.Token, core\.Event",
    ):
        BUILTIN.message_class("zzz")


def test_kinds_know_their_status_and_whether_they_are_namespaced() -> None:
    unit = BUILTIN.kind("api.systemd.Unit")
    assert (unit.spec, unit.status, unit.namespaced) == (Unit, UnitStatus, True)
    assert BUILTIN.kind("api.Node").status is NodeStatus
    assert not BUILTIN.kind("api.Node").namespaced
    assert [kind.name for kind in BUILTIN.kinds()] == [
        "api.Lease",
        "api.Node",
        "api.Type",
        "api.systemd.Unit",
        "auth.Binding",
        "auth.Revocation",
        "auth.Role",
        "auth.Token",
        "core.Event",
        "core.Namespace",
    ]


def test_a_message_that_is_no_resource_is_no_kind() -> None:
    with pytest.raises(InvalidArgumentError, match="not a type of object"):
        BUILTIN.kind("api.systemd.Install")


def test_canonical_bytes_do_not_depend_on_the_order_in_a_map() -> None:
    forth, back = Unit(), Unit()
    keys = [f"k{number}" for number in range(50)]
    for unit, order in ((forth, keys), (back, keys[::-1])):
        for key in order:
            unit.service.environment[key] = key
    packed = [Any(type_url="rube/api.systemd.Unit", value=unit.SerializeToString()) for unit in (forth, back)]
    assert BUILTIN.canonical_any(packed[0]) == BUILTIN.canonical_any(packed[1])


def test_canonical_any_has_rubes_type_url_and_keeps_unknown_fields() -> None:
    newer = Unit(description="x").SerializeToString() + b"\xfa\x3f\x03new"
    canonical = BUILTIN.canonical_any(Any(type_url="type.googleapis.com/api.systemd.Unit", value=newer))
    assert canonical.type_url == "rube/api.systemd.Unit"
    assert b"\xfa\x3f\x03new" in canonical.value


def test_bytes_of_another_type_are_refused_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match=r"3 bytes given as api\.systemd\.Unit are not a api\.systemd\.Unit"):
        BUILTIN.canonical_any(Any(type_url="rube/api.systemd.Unit", value=b"\x0a\xff\xff"))


def test_a_message_of_another_package_is_unknown() -> None:
    with pytest.raises(InvalidArgumentError, match=r"unknown type 'google\.rpc\.Status'"):
        BUILTIN.canonical_any(Any(type_url="rube/google.rpc.Status"))


def test_a_message_of_the_json_mapping_is_known_in_an_any() -> None:
    packed = Any()
    packed.Pack(Timestamp(seconds=1))
    assert BUILTIN.unpack(packed) == Timestamp(seconds=1)
    assert BUILTIN.message_class("google.protobuf.StringValue")(value="x").SerializeToString() == b"\n\x01x"
    with pytest.raises(InvalidArgumentError, match="is not a type of object"):
        BUILTIN.kind("google.protobuf.Timestamp")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        (ObjectKey("api.systemd.Unit", "", "x"), "has no metadata.namespace"),
        (ObjectKey("api.Node", "system", "x"), "belongs to no namespace"),
        (ObjectKey("api.systemd.Unit", "system", "-x"), "not a DNS label"),
        (ObjectKey("api.Nodes", "", "x"), r"did you mean 'api.Node'\?"),
    ],
)
def test_keys_that_no_object_can_have(key: ObjectKey, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError, match=complaint):
        BUILTIN.validate_object_key(key)
