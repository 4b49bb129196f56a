"""Files of types that are good become classes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.timestamp_pb2 import Timestamp

from rube.api.types import provided
from rube.api.types.files import load
from tests.unit.api.type_files import ROOT, backup, compiled, field, file, refused


def test_messages_of_files_are_classes() -> None:
    loaded = load(backup(), root="acme.Backup", status="acme.BackupStatus")
    assert list(loaded.messages) == ["acme.Backup", "acme.Backup.Step", "acme.BackupStatus", "acme.Target"]
    assert [each.name for each in loaded.files] == ["targets.proto", "backup.proto"]
    spec: Any = loaded.message_class("acme.Backup")(schedule="0 3 * * *", keep=0, mode="FULL")
    spec.targets["a"].node = "node-1"
    assert spec.HasField("keep")
    assert type(spec).FromString(spec.SerializeToString()) == spec


def test_well_known_types_have_their_methods() -> None:
    spec: Any = load(backup(), root="acme.Backup").message_class("acme.Backup")()
    spec.at.FromJsonString("2026-11-30T14:00:00Z")
    spec.every.FromSeconds(90)
    spec.settings.update({"a": [1, {"b": None}]})
    spec.limit.value = 3
    spec.more.Pack(Timestamp(seconds=1))
    assert spec.at.ToDatetime().year == 2026
    assert spec.every.ToTimedelta().total_seconds() == 90
    assert spec.settings["a"][0] == 1
    as_json = json_format.MessageToDict(spec)
    assert (as_json["at"], as_json["every"], as_json["limit"]) == ("2026-11-30T14:00:00Z", "90s", 3)
    assert json_format.ParseDict(as_json, type(spec)()) == spec
    assert text_format.Parse(text_format.MessageToString(spec), type(spec)()) == spec


@pytest.mark.parametrize("place", ["field", "message"])
@pytest.mark.parametrize("damage", ["not UTF-8", "not a message"])
def test_options_that_do_not_parse_are_refused(place: str, damage: str) -> None:
    source = """
        syntax = "proto3"; package acme; import "buf/validate/validate.proto";
        message Backup {
          option (buf.validate.message).cel = {id: "MARKMARK", expression: "true"};
          string schedule = 1 [(buf.validate.field).string.prefix = "MARKMARK"];
        }
    """
    good = compiled(backup=source)
    assert load(good, root="acme.Backup").messages
    message = next(each for each in good.file if each.name == "backup.proto").message_type[0]
    options = message.options if place == "message" else message.field[0].options
    if damage == "not UTF-8":
        options.ParseFromString(options.SerializeToString().replace(b"MARKMARK", b"MARK\xff\xfeRK"))
    else:
        options.ParseFromString(b"\xba\x48\x01\xff")  # field 1159
    assert "protobuf refuses the file" in refused(*good.file).message


def test_two_loaded_types_of_one_name_do_not_meet() -> None:
    one = load(FileDescriptorSet(file=[file()]), root="acme.Backup").message_class("acme.Backup")
    other = load(FileDescriptorSet(file=[file(field("type: TYPE_BOOL"))]), root="acme.Backup")
    assert one.DESCRIPTOR.fields[0].name == "schedule"
    assert other.message_class("acme.Backup").DESCRIPTOR.fields[0].name == "at"


def test_files_that_the_type_does_not_import_are_left_out() -> None:
    other = file('message_type { name: "Other" }', name="other.proto", package="other")
    loaded = load(FileDescriptorSet(file=[other, file()]), root="acme.Backup")
    assert [each.name for each in loaded.files] == ["backup.proto"]
    again = load(loaded.descriptor_set(), root="acme.Backup")
    assert again.descriptor_set() == loaded.descriptor_set()


def test_a_file_that_is_given_twice_counts_once() -> None:
    assert len(load(FileDescriptorSet(file=[file(), file()]), root="acme.Backup").files) == 1


def test_provided_files_may_be_left_out_or_given() -> None:
    without = FileDescriptorSet(file=[each for each in backup().file if each.name not in provided.FILES])
    assert len(without.file) == 2
    assert load(without, root="acme.Backup").files == load(backup(), root="acme.Backup").files


def test_every_api_file_is_provided() -> None:
    api = FileDescriptorSet.FromString((ROOT / "rube/api/descriptors.binpb").read_bytes())
    assert len(api.file) > 5
    for each in api.file:
        assert provided.descriptor(each.name).package == each.package


def test_options_of_ones_own_are_let_through() -> None:
    source = """
        syntax = "proto3"; package acme; import "google/protobuf/descriptor.proto";
        extend google.protobuf.FieldOptions { Unit unit = 50001; }
        message Unit { string name = 1; }
        message Backup { int64 size = 1 [(unit) = {name: "B"}]; }
    """
    assert "acme.Unit" in load(compiled(backup=source), root="acme.Backup").messages


def test_proto2_and_editions_are_read() -> None:
    proto2 = """
        syntax = "proto2"; package acme;
        enum Mode { A = 3; B = -1; }
        message Backup {
          optional Mode mode = 1 [default = B]; optional bytes b = 2 [default = "\\001\\"x"];
          optional double d = 3 [default = -inf]; optional uint64 u = 4 [default = 18446744073709551615];
          optional string s = 5 [default = "ä"]; optional bool t = 6 [default = true];
          optional float f = 7 [default = 1.5e10];
        }
    """
    spec: Any = load(compiled(backup=proto2), root="acme.Backup").message_class("acme.Backup")()
    assert (spec.mode, spec.b, spec.d, spec.u, spec.s, spec.t) == (-1, b'\1"x', float("-inf"), 2**64 - 1, "ä", True)
    edition = """
        edition = "2023"; package acme;
        message Backup { string schedule = 1 [features.field_presence = IMPLICIT]; Backup in = 3; }
    """
    assert load(compiled(backup=edition), root="acme.Backup").messages
