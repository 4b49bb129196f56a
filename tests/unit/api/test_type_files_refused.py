"""Files of types that are bad get one clear error each."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from rube.api.errors import InvalidArgumentError
from rube.api.types import provided
from rube.api.types.files import load
from tests.unit.api.type_files import SPEC, compiled, field, file, refused

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
