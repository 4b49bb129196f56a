"""Files of types: good ones become classes, and bad ones one clear error each."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api.errors import InvalidArgumentError
from rube.api.types import provided
from rube.api.types.declarations import DEPTH_MAX, ELEMENTS_MAX, MESSAGES_MAX
from rube.api.types.files import FILES_MAX, SET_BYTES_MAX, load
from tests.unit.api.type_files import ROOT, SPEC, compiled, field, file

BACKUP = """
    syntax = "proto3";
    package acme;
    import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    import "rube/api/resource.proto";
    import public "targets.proto";
    message Backup {
      option (api.resource) = { status: "acme.BackupStatus" short_names: "bk" };
      reserved 30 to 40, 50 to max;
      reserved "old";
      string schedule = 1;
      optional int32 keep = 2;
      map<string, Target> targets = 3;
      oneof how { string command = 4; Target copy = 5; }
      google.protobuf.Timestamp at = 6;
      google.protobuf.Duration every = 7;
      google.protobuf.Any more = 8;
      google.protobuf.Struct settings = 9;
      google.protobuf.Int32Value limit = 10;
      Mode mode = 11;
      repeated Backup children = 12;
      message Step { repeated double weights = 1; enum Kind { KIND_UNSPECIFIED = 0; COPY = 1; } Kind kind = 2; }
      repeated Step steps = 13;
    }
    enum Mode { option allow_alias = true; MODE_UNSPECIFIED = 0; FULL = 1; WHOLE = 1; }
    message BackupStatus { google.protobuf.Timestamp last = 1; }
"""
TARGETS = 'syntax = "proto3"; package acme; message Target { string node = 1; bytes key = 2; }'


def backup() -> FileDescriptorSet:
    return compiled(backup=BACKUP, targets=TARGETS)


BACKUP_BYTES = backup().SerializeToString()


def refused(*given: FileDescriptorProto, root: str = "acme.Backup", status: str = "") -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        load(FileDescriptorSet(file=given), root=root, status=status)
    assert caught.value.metadata["field"] == "files"
    return caught.value


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


IMPORT_RESOURCE = 'dependency: "google/protobuf/descriptor.proto" '
MAP_ENTRY = 'nested_type { name: "AtEntry" %s options { map_entry: true } }'
KEY = 'field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }'
VALUE = 'field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }'
ENUM = 'enum_type { name: "Mode" value { name: "A" number: 0 } value { name: "B" number: 1 } %s }'

BAD_FILES: dict[str, tuple[str, str]] = {
    "missing import": ('dependency: "common.proto" ' + SPEC, "import 'common.proto' is missing: give that file too"),
    "misspelt import": (
        'dependency: "google/protobuf/timestmap.proto" ' + SPEC,
        "did you mean 'google/protobuf/timestamp.proto'?",
    ),
    "import of itself": ('dependency: "backup.proto" ' + SPEC, "imports itself"),
    "import twice": (IMPORT_RESOURCE * 2 + SPEC, "is imported twice"),
    "weak import": (IMPORT_RESOURCE + "weak_dependency: 0 " + SPEC, "weak imports"),
    "public import of none": ("public_dependency: 7 " + SPEC, "import number 7 is public"),
    "uncompiled option of a file": (
        'options { uninterpreted_option { identifier_value: "x" } } ' + SPEC,
        "options that were not compiled",
    ),
    "name of a message": ('message_type { name: "9x" }' + SPEC, "a message in acme has the name '9x'"),
    "empty name": ('message_type { name: "" }' + SPEC, "has the name ''"),
    "dotted name": ('message_type { name: "A.B" }' + SPEC, "has the name 'A.B'"),
    "long name": (f'message_type {{ name: "{"x" * 200}" }}' + SPEC, "(200 characters)"),
    "name of an enum": ('enum_type { name: "a-b" value { name: "A" number: 0 } }' + SPEC, "the name 'a-b'"),
    "name of a value": ('enum_type { name: "E" value { name: "A " number: 0 } }' + SPEC, "the name 'A '"),
    "name of a field": (field('name: "sch edule" type: TYPE_BOOL'), "the name 'sch edule'"),
    "message twice": (SPEC + SPEC, "acme.Backup is declared twice"),
    "field twice": (
        field("type: TYPE_BOOL", spec='field { name: "at" number: 2 label: LABEL_OPTIONAL type: TYPE_BOOL }'),
        "acme.Backup.at is declared twice",
    ),
    "value of two enums": (ENUM % "" + ENUM.replace("Mode", "Other") % "" + SPEC, "acme.A is declared twice"),
    "value as a message": ('message_type { name: "A" }' + ENUM % "" + SPEC, "acme.A is declared twice"),
    "required": (field("label: LABEL_REQUIRED type: TYPE_BOOL"), "make it optional"),
    "group": (field('type: TYPE_GROUP type_name: ".acme.Backup"'), "field at of message acme.Backup is a group"),
    "no type": (field(""), "has no type that this server knows"),
    "type without package": (field('type: TYPE_MESSAGE type_name: "Backup"'), "without its package"),
    "unknown type": (field('type: TYPE_MESSAGE type_name: ".acme.Bakcup"'), "did you mean 'acme.Backup'?"),
    "type of a file that is not imported": (
        field('type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp"'),
        "has the type 'google.protobuf.Timestamp', which is in none of the files",
    ),
    "scalar with a type name": (field('type: TYPE_BOOL type_name: ".acme.Backup"'), "is a scalar, yet names"),
    "message as an enum": (field('type: TYPE_ENUM type_name: ".acme.Backup"'), "is an enum, and it is not"),
    "enum as a message": (ENUM % "" + field('type: TYPE_MESSAGE type_name: ".acme.Mode"'), "is a message, and it is"),
    "number 0": (field("type: TYPE_BOOL number: 0"), "has number 0: choose one of 1 to 536870911"),
    "number too large": (field("type: TYPE_BOOL number: 536870912"), "has number 536870912"),
    "number of protobuf": (field("type: TYPE_BOOL number: 19500"), "which protobuf keeps for itself"),
    "number twice": (
        field("type: TYPE_BOOL", spec='field { name: "b" number: 1 label: LABEL_OPTIONAL type: TYPE_BOOL }'),
        "field b of message acme.Backup has the number 1 of field at",
    ),
    "number that is reserved": (
        field("type: TYPE_BOOL number: 5", spec="reserved_range { start: 2 end: 6 }"),
        "message acme.Backup reserves number 5, and at has it",
    ),
    "name that is reserved": (field("type: TYPE_BOOL", spec='reserved_name: "at"'), "reserves the name at"),
    "reserved ranges overlap": (
        field("type: TYPE_BOOL", spec="reserved_range { start: 9 end: 12 } reserved_range { start: 2 end: 10 }"),
        "reserves 2 to 9 and 9 to 11, which overlap",
    ),
    "empty reserved range": (
        field("type: TYPE_BOOL", spec="reserved_range { start: 9 end: 9 }"),
        "reserves 9 to 8",
    ),
    "negative reserved range": (
        field("type: TYPE_BOOL", spec="reserved_range { start: -9 end: 9 }"),
        "reserves -9 to 8",
    ),
    "json_name twice": (
        field(
            'type: TYPE_BOOL json_name: "x"',
            spec='field { name: "x" number: 2 label: LABEL_OPTIONAL type: TYPE_BOOL }',
        ),
        "is called 'x' in JSON, as field at is",
    ),
    "json_name by camel case": (
        field(
            'name: "a_b" type: TYPE_BOOL',
            spec='field { name: "aB" number: 2 label: LABEL_OPTIONAL type: TYPE_BOOL }',
        ),
        "is called 'aB' in JSON",
    ),
    "json_name that does not print": (field('type: TYPE_BOOL json_name: "a\\000b"'), "the json_name 'a\\x00b'"),
    "json_name of an extension": (field('type: TYPE_BOOL json_name: "[a]"'), "the json_name '[a]'"),
    "name of a method": (field('name: "SerializeToString" type: TYPE_BOOL'), "the name of a method"),
    "field as an extension": (field('type: TYPE_BOOL extendee: ".acme.Backup"'), "declared as an extension"),
    "oneof out of range": (field("type: TYPE_BOOL oneof_index: 3"), "is in oneof number 3 of 0"),
    "oneof below 0": (field("type: TYPE_BOOL oneof_index: -1", spec='oneof_decl { name: "x" }'), "number -1 of 1"),
    "oneof of none": (
        field("type: TYPE_BOOL", spec='oneof_decl { name: "x" }'),
        "oneof x of message acme.Backup has no",
    ),
    "oneof of a list": (
        field("label: LABEL_REPEATED type: TYPE_BOOL oneof_index: 0", spec='oneof_decl { name: "x" }'),
        "is repeated and in a oneof",
    ),
    "optional without oneof": (field("type: TYPE_BOOL proto3_optional: true"), "optional without a oneof of its own"),
    "optional with another field": (
        field(
            "type: TYPE_BOOL proto3_optional: true oneof_index: 0",
            spec='oneof_decl { name: "x" } field { name: "b" number: 2 label: LABEL_OPTIONAL type: TYPE_BOOL '
            "oneof_index: 0 }",
        ),
        "oneof x of message acme.Backup mixes",
    ),
    "default in proto3": (field('type: TYPE_BOOL default_value: "true"'), "default value, which it cannot have"),
    "extension range": (field("type: TYPE_BOOL", spec="extension_range { start: 9 end: 12 }"), "room for extensions"),
    "extension of a message": (
        SPEC + 'extension { name: "x" extendee: ".acme.Backup" number: 9 label: LABEL_OPTIONAL type: TYPE_BOOL }',
        "extension acme.x extends 'acme.Backup', and only options",
    ),
    "nested extension": (
        field(
            "type: TYPE_BOOL",
            spec='extension { name: "x" extendee: ".a.B" number: 9 label: LABEL_OPTIONAL type: TYPE_BOOL }',
        ),
        "extension acme.Backup.x extends 'a.B'",
    ),
    "extension without number": (
        IMPORT_RESOURCE
        + SPEC
        + 'extension { name: "x" extendee: ".google.protobuf.FieldOptions" label: LABEL_OPTIONAL type: TYPE_BOOL }',
        "extension acme.x has no number",
    ),
    "message set": (field("type: TYPE_BOOL", spec="options { message_set_wire_format: true }"), "remove the option"),
    "uncompiled option of a field": (
        field('type: TYPE_BOOL options { uninterpreted_option { identifier_value: "x" } }'),
        "field at of message acme.Backup has options that were not compiled",
    ),
    "enum without values": ('enum_type { name: "Mode" }' + SPEC, "enum acme.Mode has no values"),
    "enum without 0": (
        'enum_type { name: "M" value { name: "A" number: 1 } }' + SPEC,
        "in proto3 it is 0",
    ),
    "enum with one number twice": (
        ENUM % 'value { name: "C" number: 1 }' + SPEC,
        "values B and C of enum acme.Mode both have number 1",
    ),
    "value that is reserved": (ENUM % "reserved_range { start: 1 end: 1 }" + SPEC, "enum acme.Mode reserves number 1"),
    "value's name that is reserved": (ENUM % 'reserved_name: "B"' + SPEC, "enum acme.Mode reserves the name B"),
    "reserved values overlap": (
        ENUM % "reserved_range { start: 5 end: 9 } reserved_range { start: 9 end: 10 }" + SPEC,
        "reserves 5 to 9 and 9 to 10, which overlap",
    ),
    "map entry of one's own": ('message_type { name: "E" options { map_entry: true } }' + SPEC, "no entry that protoc"),
    "map entry without value": (
        field('label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".acme.Backup.AtEntry"', spec=MAP_ENTRY % KEY),
        "no entry that protoc makes",
    ),
    "map entry with a key of bytes": (
        field(
            'label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".acme.Backup.AtEntry"',
            spec=MAP_ENTRY % (KEY.replace("STRING", "BYTES") + VALUE),
        ),
        "no entry that protoc makes",
    ),
    "map entry of another field": (
        field(
            'name: "other" label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".acme.Backup.AtEntry"',
            spec=MAP_ENTRY % (KEY + VALUE),
        ),
        "uses the entry of a map, acme.Backup.AtEntry",
    ),
    "map entry alone": (
        field('type: TYPE_MESSAGE type_name: ".acme.Backup.AtEntry"', spec=MAP_ENTRY % (KEY + VALUE)),
        "uses the entry of a map, acme.Backup.AtEntry",
    ),
}


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_a_bad_file_is_refused_with_its_place_and_remedy(name: str) -> None:
    body, words = BAD_FILES[name]
    error = refused(file(body))
    assert words in error.message
    assert error.message.startswith("backup.proto: ")
    assert error.metadata["file"] == "backup.proto"
    assert ":" in error.message.removeprefix("backup.proto: ") or "did you mean" in error.message


@pytest.mark.parametrize(
    ("words", "default"),
    [
        ("type: TYPE_INT32", "2147483648"),
        ("type: TYPE_UINT32", "-1"),
        ("type: TYPE_INT64", "9" * 5000),
        ("type: TYPE_BOOL", "TRUE"),
        ("type: TYPE_DOUBLE", "1,5"),
        ("type: TYPE_DOUBLE", "1.5.5"),
        ("type: TYPE_BYTES", "\\q"),
        ('type: TYPE_ENUM type_name: ".acme.Mode"', "C"),
        ("label: LABEL_REPEATED type: TYPE_INT32", "1"),
        ('type: TYPE_MESSAGE type_name: ".acme.Backup"', "1"),
    ],
)
def test_a_default_value_that_the_type_does_not_have_is_refused(words: str, default: str) -> None:
    bad = file(ENUM % "" + field(f"{words} default_value: {default!r}".replace("\\\\", "\\\\")), syntax="proto2")
    assert "backup.proto" in refused(bad).message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (file(syntax="proto9"), "the syntax 'proto9' is unknown; did you mean 'proto"),
        (file("edition: EDITION_99999_TEST_ONLY " + SPEC, syntax="editions"), "the edition (number 99999) is not one"),
        (file(SPEC, syntax="editions"), "the edition (number 0) is not one"),
        (file(package=""), "there is no package: write one"),
        (file(package="a..b"), "the package 'a..b' is no name"),
        (file(package="api"), "api.Backup is in a package of protobuf's or of Rube itself"),
        (file(package="api.systemd.mine"), "use a package of your own"),
        (file(package="google.protobuf"), "use a package of your own"),
        (file(package="buf.validate"), "use a package of your own"),
        (file(package="core"), "use a package of your own"),
        (file('message_type { name: "protobuf" }', package="google"), "google.protobuf is in a package"),
        (file('message_type { name: "validate" nested_type { name: "X" } }', package="buf"), "buf.validate is in a"),
        (file(name=""), "file 0 has the name ''"),
        (file(name="/etc/passwd"), "a name is a relative path"),
        (file(name="a/../../b.proto"), "a name is a relative path"),
        (file(name="a\nb"), "a name is a relative path"),
    ],
)
def test_a_bad_header_is_refused(given: FileDescriptorProto, words: str) -> None:
    assert words in refused(given).message


def test_a_cycle_of_imports_is_shown() -> None:
    cycle = [file(f'dependency: "{following}.proto"', name=f"{name}.proto") for name, following in ("ab", "bc", "ca")]
    error = refused(file('dependency: "a.proto" ' + SPEC), *cycle)
    assert "import each other (a.proto → b.proto → c.proto → a.proto)" in error.message


def test_two_files_of_one_name_that_differ_are_refused() -> None:
    assert "two files of this name" in refused(file(), file(SPEC + 'message_type { name: "X" }')).message


def test_a_message_in_two_files_is_refused() -> None:
    error = refused(file(), file(name="other.proto"))
    assert error.message == "other.proto: acme.Backup is declared in backup.proto too: rename one"


def test_a_package_with_the_name_of_a_message_is_refused() -> None:
    other = file('message_type { name: "X" }', name="z.proto", package="acme.Backup")
    assert "the package acme.Backup is a declaration in backup.proto" in refused(file(), other).message


def test_a_type_is_seen_through_public_imports_alone() -> None:
    base = file('message_type { name: "Base" }', name="base.proto")
    spec = field('type: TYPE_MESSAGE type_name: ".acme.Base"')
    between = file('dependency: "base.proto"', name="between.proto")
    error = refused(file('dependency: "between.proto" ' + spec), between, base)
    assert "has the type acme.Base of base.proto: import that file" in error.message
    between.public_dependency.append(0)
    load(FileDescriptorSet(file=[file('dependency: "between.proto" ' + spec), between, base]), root="acme.Backup")


@pytest.mark.parametrize(
    ("root", "status", "words"),
    [
        ("acme.Bakcup", "", "the spec's message 'acme.Bakcup' is in none of the files"),
        ("acme.Bakcup", "", "did you mean 'acme.Backup'?"),
        ("other.Backup", "", "did you mean 'acme.Backup'?"),
        ("", "", "the spec's message '' is in none"),
        ("acme.Backup", "acme.Status", "the status's message 'acme.Status' is in none of the files"),
        ("acme.Mode", "", "the spec is acme.Mode, which is no message"),
        ("acme.Backup.AtEntry", "", "which is no message"),
        ("api.Node", "", "api.Node is a message of protobuf's or of Rube itself"),
        ("acme." + "x" * 100_000, "", "characters)"),
    ],
)
def test_a_root_that_is_no_message_of_the_files_is_refused(root: str, status: str, words: str) -> None:
    good = field(
        'label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".acme.Backup.AtEntry"', spec=MAP_ENTRY % (KEY + VALUE)
    )
    assert words in refused(file(ENUM % "" + good), root=root, status=status).message


def test_a_provided_file_that_differs_is_refused() -> None:
    timestamp = provided.descriptor("google/protobuf/timestamp.proto")
    timestamp.message_type[0].field[0].type = FieldDescriptorProto.TYPE_INT32
    error = refused(file(), timestamp)
    assert "google.protobuf.Timestamp differs from the one that this server provides" in error.message


def test_a_newer_provided_file_is_let_through_and_not_used() -> None:
    timestamp = provided.descriptor("google/protobuf/timestamp.proto")
    timestamp.message_type[0].field.add(name="leap", number=9, type=5, label=1)
    body = 'dependency: "google/protobuf/timestamp.proto" ' + field(
        'type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp"'
    )
    loaded = load(FileDescriptorSet(file=[timestamp, file(body)]), root="acme.Backup")
    assert "leap" not in loaded.message_class("google.protobuf.Timestamp").DESCRIPTOR.fields_by_name


@pytest.mark.parametrize("feature", ["field_presence = LEGACY_REQUIRED", "message_encoding = DELIMITED"])
def test_features_that_make_a_field_required_or_a_group_are_refused(feature: str) -> None:
    source = f'edition = "2023"; package acme; message Backup {{ Backup at = 1 [features.{feature}]; }}'
    assert "field at of message acme.Backup" in refused(*compiled(backup=source).file).message
    if "ENCODING" in feature.upper():
        source = f'edition = "2023"; package acme; option features.{feature}; message Backup {{ Backup at = 1; }}'
        assert "is encoded as a group" in refused(*compiled(backup=source).file).message


NOT_UTF8 = [
    file(name="MARK.proto"),
    file(package="MARK"),
    file(syntax="MARK"),
    file('dependency: "MARK" ' + SPEC),
    file('message_type { name: "MARK" }' + SPEC),
    file('enum_type { name: "MARK" value { name: "A" number: 0 } }' + SPEC),
    file('enum_type { name: "E" value { name: "MARK" number: 0 } }' + SPEC),
    file(ENUM % 'reserved_name: "MARK"' + SPEC),
    file(field("type: TYPE_BOOL", spec='reserved_name: "MARK"')),
    file(field("type: TYPE_BOOL oneof_index: 0", spec='oneof_decl { name: "MARK" }')),
    file(field('name: "MARK" type: TYPE_BOOL')),
    file(field('type: TYPE_MESSAGE type_name: ".MARK"')),
    file(field('type: TYPE_BOOL json_name: "MARK"')),
    file(field('type: TYPE_STRING default_value: "MARK"'), syntax="proto2"),
    file(SPEC + 'extension { name: "x" extendee: ".MARK" number: 9 label: LABEL_OPTIONAL type: TYPE_BOOL }'),
    file(SPEC + 'extension { name: "MARK" extendee: ".a" number: 9 label: LABEL_OPTIONAL type: TYPE_BOOL }'),
]


@pytest.mark.parametrize("mark", [b"\xff\xfe\xfd\xfc", b"a\0b\n", b"\xed\xa0\x80."])
@pytest.mark.parametrize("number", range(len(NOT_UTF8)))
def test_names_that_are_no_text_are_refused(number: int, mark: bytes) -> None:
    encoded = NOT_UTF8[number].SerializeToString().replace(b"MARK", mark)
    given = FileDescriptorSet(file=[FileDescriptorProto.FromString(encoded)])
    if mark.isascii() and ("default" in str(NOT_UTF8[number]) or "reserved_name" in str(NOT_UTF8[number])):
        load(given, root="acme.Backup")  # strange, and no harm
        return
    with pytest.raises(InvalidArgumentError):
        load(given, root="acme.Backup")


def test_no_file_is_refused() -> None:
    assert "there are no files" in refused().message


def nested(depth: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    message = found.file[0].message_type[0]
    for _ in range(depth):
        message = message.nested_type.add(name="M")
    return found


def wide(messages: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    for index in range(messages):
        found.file[0].message_type.add(name=f"M{index}")
    return found


def with_reserved(ranges: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    for index in range(ranges):
        found.file[0].message_type[0].reserved_range.add(start=2 * index + 9, end=2 * index + 10)
    return found


def with_comment(size: int) -> FileDescriptorSet:
    found = FileDescriptorSet(file=[file()])
    found.file[0].source_code_info.location.add(leading_comments="x" * size)
    return found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (nested(DEPTH_MAX), f"nested deeper than {DEPTH_MAX} levels"),
        (nested(10_000), f"nested deeper than {DEPTH_MAX} levels"),
        (nested(300_000), f"nested deeper than {DEPTH_MAX} levels"),  # its ByteSize() overflows the stack
        (wide(100_000), f"more than {MESSAGES_MAX} messages"),
        (with_reserved(1_000_000), f"more than {ELEMENTS_MAX} fields"),
        (FileDescriptorSet(file=[file('dependency: "x"' * (ELEMENTS_MAX + 1))]), f"more than {ELEMENTS_MAX} fields"),
        (FileDescriptorSet(file=[file()] * (FILES_MAX + 1)), f"more than {FILES_MAX}"),
        (with_comment(10_000_000), f"more than {SET_BYTES_MAX}"),
    ],
    ids=["deep", "deeper", "deepest", "messages", "ranges", "imports", "files", "bytes"],
)
def test_sets_beyond_the_bounds_are_refused_before_they_are_read(given: FileDescriptorSet, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        load(given, root="acme.Backup")


def test_a_set_at_the_bounds_is_loaded() -> None:
    assert len(load(nested(DEPTH_MAX - 1), root="acme.Backup").messages) == DEPTH_MAX
    assert len(load(wide(MESSAGES_MAX - 1), root="acme.Backup").messages) == MESSAGES_MAX
    assert load(with_reserved(ELEMENTS_MAX - 1), root="acme.Backup").messages


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_bytes_are_refused_or_loaded(seed: int) -> None:
    chance = Random(seed)
    damaged = BACKUP_BYTES
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(damaged))
        damaged = damaged[:start] + chance.randbytes(chance.randint(0, 3)) + damaged[start + chance.randint(0, 3) :]
    try:
        given = FileDescriptorSet.FromString(damaged)
    except DecodeError:
        return  # no server gets as far as `load`
    loads_or_refuses(given)


def loads_or_refuses(given: FileDescriptorSet) -> None:
    try:
        loaded = load(given, root="acme.Backup", status="acme.BackupStatus")
    except InvalidArgumentError:
        return
    for name in loaded.messages:
        message = loaded.message_class(name)()
        assert message.SerializeToString() == b""
        assert json_format.MessageToDict(message, always_print_fields_with_no_presence=True) is not None
        assert text_format.Parse(text_format.MessageToString(message), message) is message


ODD_NUMBERS = [-(2**31), -1, 0, 1, 2, 5, 19_000, 2**29 - 1, 2**29, 2**31 - 1]
ODD_TEXTS = [
    "",
    "acme",
    "Backup",
    ".acme.Backup",
    "backup.proto",
    "targets.proto",
    "at",
    "api",
    "Step",
    "é",
    "a.b",
    "\0",
]
ODD: dict[int, list[Any]] = {
    FieldDescriptor.CPPTYPE_STRING: ODD_TEXTS,
    FieldDescriptor.CPPTYPE_INT32: ODD_NUMBERS,
    FieldDescriptor.CPPTYPE_BOOL: [True, False],
}


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_changed_declarations_are_refused_or_loaded(seed: int) -> None:
    chance = Random(seed)
    given = FileDescriptorSet.FromString(BACKUP_BYTES)
    for _ in range(chance.randint(1, 4)):
        change(given, chance)
    loads_or_refuses(given)


def change(given: FileDescriptorSet, chance: Random) -> None:
    """Sets, clears, copies or removes one part of one declaration of the last two files."""
    message: Message = chance.choice(list(given.file[-2:]) or [given.file.add()])
    for _ in range(chance.randint(0, 4)):
        inner = [
            each
            for descriptor, value in message.ListFields()
            if descriptor.message_type is not None
            for each in (value if descriptor.is_repeated else [value])
        ]
        if not inner:
            break
        message = chance.choice(inner)
    field: Any = chance.choice(list(message.DESCRIPTOR.fields))
    if field.is_repeated:
        values = getattr(message, field.name)
        action = chance.choice(["clear", "copy", "remove"])
        if action == "clear" or not values:
            message.ClearField(field.name)
        elif action == "copy":
            values.append(chance.choice(list(values)))
        else:
            del values[chance.randrange(len(values))]
    elif field.message_type is not None:
        getattr(message, field.name).SetInParent()
    elif field.enum_type is not None:
        setattr(message, field.name, chance.choice([each.number for each in field.enum_type.values]))
    elif field.cpp_type in ODD:
        setattr(message, field.name, chance.choice(ODD[field.cpp_type]))
