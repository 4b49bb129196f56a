"""Breaking changes of types: the verdict of `buf breaking`, rule by rule."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet

from rube.api.types.declarations import ELEMENTS_MAX
from rube.api.types.evolution import Breakage, breaking
from rube.api.types.files import load
from tests.unit.api.type_files import buf, compiled, compiled_files, file

ROOTS = ("acme.Backup",)
WIRE_JSON = {
    "ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED",
    "ENUM_VALUE_SAME_NAME",
    "FIELD_NO_DELETE_UNLESS_NAME_RESERVED",
    "FIELD_SAME_JSON_NAME",
    "FIELD_SAME_NAME",
    "FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY",
    "FIELD_WIRE_JSON_COMPATIBLE_TYPE",
}


def judged(before: FileDescriptorSet, after: FileDescriptorSet, category: str) -> dict[str, list[str]]:
    """Returns the rules that buf finds broken, sorted, one for each place, by the directory of the file."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("before.binpb", "after.binpb")]
        for path, files in zip(paths, (before, after), strict=True):
            path.write_bytes(files.SerializeToString())
        config = json.dumps({"version": "v2", "breaking": {"use": [category]}})
        done = buf("breaking", str(paths[1]), "--against", str(paths[0]), "--error-format", "json", "--config", config)
    assert done.returncode in (0, 100), done.stderr
    found: dict[str, list[str]] = {}
    for each in sorted(json.loads(line)["type"] + " " + json.loads(line)["path"] for line in done.stdout.splitlines()):
        rule, _, path = each.partition(" ")
        found.setdefault(path.rpartition("/")[0], []).append(rule)
    return found


def rules(found: list[Breakage], *, warning: bool) -> list[str]:
    return sorted(each.rule for each in found if each.warning == warning)


class Verdicts:
    """Pairs of versions, each in a package of its own, that buf judges at once."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        self.before = compiled_files(dict(self._file(index, pair[0]) for index, pair in enumerate(self.pairs)))
        self.after = compiled_files(dict(self._file(index, pair[1]) for index, pair in enumerate(self.pairs)))
        self.wire = judged(self.before, self.after, "WIRE")
        self.wire_json = judged(self.before, self.after, "WIRE_JSON")

    def _file(self, index: int, source: str) -> tuple[str, str]:
        return f"p{index}/backup.proto", source.replace("package acme;", f"package p{index};")

    def agree(self, index: int) -> list[Breakage]:
        """Returns the breakages of a pair, which are buf's: those of WIRE refuse, and what WIRE_JSON has beyond them
        warns."""
        before, after = (
            FileDescriptorSet(file=[each for each in files.file if each.name == f"p{index}/backup.proto"])
            for files in (self.before, self.after)
        )
        found = breaking(before, after, [f"p{index}.Backup"])
        assert rules(found, warning=False) == self.wire.get(f"p{index}", []), self.pairs[index]
        beyond = set(self.wire_json.get(f"p{index}", [])) & WIRE_JSON
        broken = {each.rule.replace("_WIRE_", "_WIRE_JSON_") for each in found if not each.warning}
        assert beyond - broken == set(rules(found, warning=True)) - broken, self.pairs[index]
        return found


def proto3(body: str) -> str:
    return f'syntax = "proto3"; package acme; {body}'


def proto2(body: str) -> str:
    return f'syntax = "proto2"; package acme; {body}'


def edition(body: str) -> str:
    return f'edition = "2023"; package acme; {body}'


def spec(fields: str) -> str:
    return proto3(f"message Backup {{ {fields} }}")


MODE = "message Backup { Mode mode = 1; } enum Mode { %s }"
VALUES = "MODE_UNSPECIFIED = 0; FULL = 1;"
TYPE = "FIELD_WIRE_COMPATIBLE_TYPE"
CARDINALITY = "FIELD_WIRE_COMPATIBLE_CARDINALITY"
NUMBER = "FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED"
VALUE_NUMBER = "ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED"
RESERVED = "RESERVED_MESSAGE_NO_DELETE"
RESERVED_VALUE = "RESERVED_ENUM_NO_DELETE"
ONEOF = "FIELD_SAME_ONEOF"
DEFAULT = "FIELD_SAME_DEFAULT"
REQUIRED = "MESSAGE_SAME_REQUIRED_FIELDS"

PAIRS: dict[str, tuple[str, str, list[str]]] = {
    "nothing": (spec("string a = 1;"), spec("string a = 1;"), []),
    "a field more": (spec("string a = 1;"), spec("string a = 1; string b = 2;"), []),
    "order of fields": (spec("string a = 1; string b = 2;"), spec("string b = 2; string a = 1;"), []),
    "field removed": (spec("string a = 1; string b = 2;"), spec("string a = 1;"), [NUMBER]),
    "field removed, number reserved": (spec("string a = 1;"), spec("reserved 1;"), []),
    "field removed, number in a range": (spec("string a = 5;"), spec("reserved 1 to 9;"), []),
    "field removed, number up to max": (spec("string a = 5;"), spec("reserved 3 to max;"), []),
    "field removed, name reserved": (spec("string a = 1;"), spec('reserved "a";'), [NUMBER]),
    "field removed, both reserved": (spec("string a = 1;"), spec('reserved 1; reserved "a";'), []),
    "two fields removed": (spec("string a = 1; string b = 2;"), spec(""), [NUMBER, NUMBER]),
    "field renumbered": (spec("string a = 1;"), spec("string a = 2;"), [NUMBER]),
    "field renamed": (spec("string a = 1;"), spec("string b = 1;"), []),
    "json_name changed": (spec("string a = 1;"), spec('string a = 1 [json_name = "z"];'), []),
    "int32 to int64": (spec("int32 a = 1;"), spec("int64 a = 1;"), []),
    "int32 to uint32": (spec("int32 a = 1;"), spec("uint32 a = 1;"), []),
    "int32 to bool": (spec("int32 a = 1;"), spec("bool a = 1;"), []),
    "int32 to sint32": (spec("int32 a = 1;"), spec("sint32 a = 1;"), [TYPE]),
    "sint32 to sint64": (spec("sint32 a = 1;"), spec("sint64 a = 1;"), []),
    "int32 to fixed32": (spec("int32 a = 1;"), spec("fixed32 a = 1;"), [TYPE]),
    "fixed32 to sfixed32": (spec("fixed32 a = 1;"), spec("sfixed32 a = 1;"), []),
    "fixed64 to sfixed64": (spec("fixed64 a = 1;"), spec("sfixed64 a = 1;"), []),
    "fixed32 to fixed64": (spec("fixed32 a = 1;"), spec("fixed64 a = 1;"), [TYPE]),
    "float to double": (spec("float a = 1;"), spec("double a = 1;"), [TYPE]),
    "double to fixed64": (spec("double a = 1;"), spec("fixed64 a = 1;"), [TYPE]),
    "string to bytes": (spec("string a = 1;"), spec("bytes a = 1;"), []),
    "bytes to string": (spec("bytes a = 1;"), spec("string a = 1;"), [TYPE]),
    "string to int32": (spec("string a = 1;"), spec("int32 a = 1;"), [TYPE]),
    "message to bytes": (spec("Backup a = 1;"), spec("bytes a = 1;"), [TYPE]),
    "message to another": (
        spec("A a = 1; message A {}"),
        spec("B a = 1; message B {}"),
        [TYPE],
    ),
    "message moved out of another": (
        proto3("message Backup { In a = 1; message In { int32 n = 1; } }"),
        proto3("message Backup { In a = 1; } message In { int32 n = 1; }"),
        [TYPE],
    ),
    "enum to int32": (proto3(MODE % VALUES), spec("int32 mode = 1;"), [TYPE]),
    "enum to another": (
        proto3(MODE % VALUES),
        proto3("message Backup { Way mode = 1; } enum Way { MODE_UNSPECIFIED = 0; FULL = 1; }"),
        [TYPE],
    ),
    "enum moved into a message": (
        proto3(MODE % VALUES),
        proto3("message Backup { Mode mode = 1; enum Mode { MODE_UNSPECIFIED = 0; FULL = 1; MORE = 2; } }"),
        [],
    ),
    "enum moved, with fewer values": (
        proto3(MODE % VALUES),
        proto3("message Backup { Mode mode = 1; enum Mode { MODE_UNSPECIFIED = 0; } }"),
        [TYPE],
    ),
    "enum moved, with a value renumbered": (
        proto3(MODE % VALUES),
        proto3("message Backup { Mode mode = 1; enum Mode { MODE_UNSPECIFIED = 0; FULL = 2; } }"),
        [TYPE],
    ),
    "nested field removed": (
        spec("message In { message Deep { string s = 1; } Deep d = 1; } In in = 1;"),
        spec("message In { message Deep { } Deep d = 1; } In in = 1;"),
        [NUMBER],
    ),
    "singular to repeated": (spec("string a = 1;"), spec("repeated string a = 1;"), [CARDINALITY]),
    "repeated to singular": (spec("repeated string a = 1;"), spec("string a = 1;"), [CARDINALITY]),
    "optional": (spec("int32 a = 1;"), spec("optional int32 a = 1;"), []),
    "not optional any more": (spec("optional int32 a = 1;"), spec("int32 a = 1;"), []),
    "not packed": (spec("repeated int32 a = 1;"), spec("repeated int32 a = 1 [packed = false];"), []),
    "map to repeated entries": (
        spec("map<string, string> a = 1;"),
        spec("repeated E a = 1; message E { string key = 1; string value = 2; }"),
        [TYPE],
    ),
    "map to singular": (spec("map<string, string> a = 1;"), spec("Backup a = 1;"), [CARDINALITY, TYPE]),
    "map renamed": (spec("map<string, string> a = 1;"), spec("map<string, string> b = 1;"), [TYPE]),
    "map of other values": (spec("map<string, string> a = 1;"), spec("map<string, int32> a = 1;"), [TYPE]),
    "map of compatible keys": (spec("map<int32, string> a = 1;"), spec("map<int64, string> a = 1;"), []),
    "map removed": (spec("map<string, string> a = 1;"), spec("reserved 1;"), []),
    "into a oneof": (spec("string a = 1;"), spec("oneof x { string a = 1; }"), [ONEOF]),
    "out of a oneof": (spec("oneof x { string a = 1; }"), spec("string a = 1;"), [ONEOF]),
    "to another oneof": (spec("oneof x { string a = 1; }"), spec("oneof y { string a = 1; }"), [ONEOF]),
    "a field more in a oneof": (spec("oneof x { string a = 1; }"), spec("oneof x { string a = 1; bool b = 2; }"), []),
    "optional into a oneof": (spec("optional string a = 1;"), spec("oneof x { string a = 1; }"), [ONEOF]),
    "out of a oneof to optional": (spec("oneof x { string a = 1; }"), spec("optional string a = 1;"), [ONEOF]),
    "removed from a oneof": (
        spec("oneof x { string a = 1; bool b = 2; }"),
        spec("oneof x { bool b = 2; }"),
        [NUMBER],
    ),
    "a value more": (proto3(MODE % VALUES), proto3(MODE % (VALUES + "MORE = 2;")), []),
    "value removed": (proto3(MODE % VALUES), proto3(MODE % "MODE_UNSPECIFIED = 0;"), [VALUE_NUMBER]),
    "value removed, number reserved": (proto3(MODE % VALUES), proto3(MODE % "MODE_UNSPECIFIED = 0; reserved 1;"), []),
    "value removed, name reserved": (
        proto3(MODE % VALUES),
        proto3(MODE % 'MODE_UNSPECIFIED = 0; reserved "FULL";'),
        [VALUE_NUMBER],
    ),
    "value renamed": (proto3(MODE % VALUES), proto3(MODE % "MODE_UNSPECIFIED = 0; WHOLE = 1;"), []),
    "value renumbered": (proto3(MODE % VALUES), proto3(MODE % "MODE_UNSPECIFIED = 0; FULL = 2;"), [VALUE_NUMBER]),
    "alias added": (
        proto3(MODE % VALUES),
        proto3(MODE % ("option allow_alias = true;" + VALUES + "WHOLE = 1;")),
        [],
    ),
    "alias removed": (
        proto3(MODE % ("option allow_alias = true;" + VALUES + "WHOLE = 1;")),
        proto3(MODE % VALUES),
        [],
    ),
    "aliases removed": (
        proto3(MODE % ("option allow_alias = true;" + VALUES + "WHOLE = 1;")),
        proto3(MODE % "MODE_UNSPECIFIED = 0;"),
        [VALUE_NUMBER],
    ),
    "number not reserved any more": (spec("reserved 4;"), spec(""), [RESERVED]),
    "number used again": (spec("reserved 4;"), spec("string a = 4;"), [RESERVED]),
    "range cut": (spec("reserved 4 to 9;"), spec("reserved 4 to 7;"), [RESERVED]),
    "range with a hole": (spec("reserved 4 to 9;"), spec("reserved 4, 5, 7 to 9;"), [RESERVED]),
    "range in two parts": (spec("reserved 4 to 9;"), spec("reserved 7 to 9, 4 to 6;"), []),
    "range to max cut": (spec("reserved 4 to max;"), spec("reserved 4 to 9;"), [RESERVED]),
    "range joined": (spec("reserved 4, 5, 6;"), spec("reserved 1 to 9;"), []),
    "two ranges removed": (spec("reserved 4, 6;"), spec(""), [RESERVED, RESERVED]),
    "name not reserved any more": (spec('reserved "a", "b";'), spec('reserved "b";'), [RESERVED]),
    "value not reserved any more": (
        proto3(MODE % (VALUES + "reserved 4, -5 to -2;")),
        proto3(MODE % (VALUES + "reserved 4;")),
        [RESERVED_VALUE],
    ),
    "name of a value not reserved any more": (
        proto3(MODE % (VALUES + 'reserved "OLD";')),
        proto3(MODE % VALUES),
        [RESERVED_VALUE],
    ),
    "default changed": (
        proto2("message Backup { optional int32 a = 1 [default = 3]; }"),
        proto2("message Backup { optional int32 a = 1 [default = 4]; }"),
        [DEFAULT],
    ),
    "default removed": (
        proto2('message Backup { optional string a = 1 [default = "x"]; }'),
        proto2("message Backup { optional string a = 1; }"),
        [DEFAULT],
    ),
    "default of zero": (
        proto2("message Backup { optional int32 a = 1 [default = 0]; }"),
        proto2("message Backup { optional int32 a = 1; }"),
        [],
    ),
    "default of another type": (
        proto2("message Backup { optional int32 a = 1 [default = 1]; }"),
        proto2("message Backup { optional bool a = 1 [default = true]; }"),
        [],
    ),
    "default of bytes": (
        proto2('message Backup { optional bytes a = 1 [default = "\\001\\"a"]; }'),
        proto2('message Backup { optional bytes a = 1 [default = "\\x01\\"a"]; }'),
        [],
    ),
    "default from string to bytes": (
        proto2('message Backup { optional string a = 1 [default = "x"]; }'),
        proto2('message Backup { optional bytes a = 1 [default = "y"]; }'),
        [DEFAULT],
    ),
    "default nan": (
        proto2("message Backup { optional double a = 1 [default = nan]; }"),
        proto2("message Backup { optional double a = 1 [default = nan]; }"),
        [],
    ),
    "default inf": (
        proto2("message Backup { optional float a = 1 [default = inf]; }"),
        proto2("message Backup { optional float a = 1 [default = -inf]; }"),
        [DEFAULT],
    ),
    "default from float to double": (
        proto2("message Backup { optional float a = 1 [default = 0.1]; }"),
        proto2("message Backup { optional double a = 1 [default = 0.1]; }"),
        [TYPE],
    ),
    "first value of an enum of proto2": (
        proto2("message Backup { optional M a = 1; } enum M { A = 3; B = 4; }"),
        proto2("message Backup { optional M a = 1; } enum M { B = 4; A = 3; }"),
        [DEFAULT],
    ),
    "default of an enum": (
        proto2("message Backup { optional M a = 1 [default = B]; } enum M { A = 3; B = 4; }"),
        proto2("message Backup { optional M a = 1 [default = A]; } enum M { A = 3; B = 4; }"),
        [DEFAULT],
    ),
    "required added": (
        proto2("message Backup { optional int32 a = 1; }"),
        proto2("message Backup { optional int32 a = 1; required int32 b = 2; }"),
        [REQUIRED],
    ),
    "required removed": (
        proto2("message Backup { required int32 a = 1; }"),
        proto2("message Backup { reserved 1; }"),
        [REQUIRED],
    ),
    "required to optional": (
        proto2("message Backup { required int32 a = 1; }"),
        proto2("message Backup { optional int32 a = 1; }"),
        [CARDINALITY, REQUIRED],
    ),
    "group to message": (
        proto2("message Backup { optional group A = 1 { optional int32 n = 1; } }"),
        proto2("message Backup { optional A a = 1; message A { optional int32 n = 1; } }"),
        [TYPE],
    ),
    "proto2 to proto3": (
        proto2("message Backup { optional int32 a = 1; repeated int32 b = 2; }"),
        proto3("message Backup { optional int32 a = 1; repeated int32 b = 2; }"),
        [],
    ),
    "proto3 to edition 2023": (
        proto3("message Backup { optional int32 a = 1; string b = 2; }"),
        edition("message Backup { int32 a = 1; string b = 2 [features.field_presence = IMPLICIT]; }"),
        [],
    ),
    "edition: delimited": (
        edition("message Backup { Backup a = 1; }"),
        edition("message Backup { Backup a = 1 [features.message_encoding = DELIMITED]; }"),
        [TYPE],
    ),
    "edition: delimited by the file": (
        edition("message Backup { Backup a = 1; }"),
        edition("option features.message_encoding = DELIMITED; message Backup { Backup a = 1; }"),
        [TYPE],
    ),
    "edition: required": (
        edition("message Backup { int32 a = 1; }"),
        edition("message Backup { int32 a = 1 [features.field_presence = LEGACY_REQUIRED]; }"),
        [CARDINALITY],
    ),
    "edition: packed": (
        edition("message Backup { repeated int32 a = 1; }"),
        edition("message Backup { repeated int32 a = 1 [features.repeated_field_encoding = EXPANDED]; }"),
        [],
    ),
}


@pytest.fixture(scope="module")
def verdicts() -> Verdicts:
    return Verdicts((before, after) for before, after, _ in PAIRS.values())


@pytest.mark.parametrize("name", PAIRS)
def test_a_change_has_the_verdict_of_buf(name: str, verdicts: Verdicts) -> None:
    index = list(PAIRS).index(name)
    found = verdicts.agree(index)
    assert rules(found, warning=False) == PAIRS[name][2]
    for each in found:
        assert each.path.startswith(f"p{index}.")
        assert ": " in each.text


COMMON = "message Target { string node = 1; }"


def with_import(body: str) -> str:
    return f'syntax = "proto3"; package acme; import "common.proto"; {body}'


def test_a_message_that_moved_to_another_file_is_the_same() -> None:
    before = compiled(backup=proto3("message Backup { Target a = 1; }" + COMMON))
    after = compiled(backup=with_import("message Backup { Target a = 1; }"), common=proto3(COMMON))
    assert breaking(before, after, ROOTS) == []
    assert judged(before, after, "WIRE_JSON") == {}
    worse = compiled(backup=with_import("message Backup { Target a = 1; }"), common=proto3("message Target {}"))
    found = breaking(before, worse, ROOTS)
    assert [each.path for each in found if not each.warning] == ["acme.Target.node"]
    assert judged(before, worse, "WIRE") == {"": rules(found, warning=False)}


def test_another_package_of_an_imported_file_is_found() -> None:
    use = 'syntax = "proto3"; package acme; import "common.proto"; message Backup { %s.Target a = 1; }'
    before = compiled(backup=use % "old", common=f'syntax = "proto3"; package old; {COMMON}')
    after = compiled(backup=use % "fresh", common=f'syntax = "proto3"; package fresh; {COMMON}')
    found = breaking(before, after, ROOTS)
    assert rules(found, warning=False) == [TYPE, "FILE_SAME_PACKAGE"]
    assert judged(before, after, "WIRE") == {"": [TYPE, "FILE_SAME_PACKAGE"]}


def test_only_what_the_roots_reach_counts() -> None:
    before = compiled(backup=proto3("message Backup { string a = 1; } message Other { string a = 1; }"))
    after = compiled(backup=proto3("message Backup { string a = 1; } message Other { }"))
    assert judged(before, after, "WIRE") == {"": [NUMBER]}
    assert breaking(before, after, ROOTS) == []
    assert [each.path for each in breaking(before, after, ["acme.Other"]) if not each.warning] == ["acme.Other.a"]


def test_a_root_that_is_gone_is_refused_and_a_new_one_is_not() -> None:
    before, after = compiled(backup=spec("string a = 1;")), compiled(backup=proto3("message Copy { string a = 1; }"))
    (found,) = breaking(before, after, ["acme.Backup", "acme.Copy"])
    assert (found.rule, found.path, found.warning) == ("MESSAGE_NO_DELETE", "acme.Backup", False)


def test_a_removed_field_says_what_to_reserve() -> None:
    found = breaking(compiled(backup=spec("string keep = 4;")), compiled(backup=spec("")), ROOTS)
    refusal = next(each for each in found if not each.warning)
    assert refusal.text == (
        "field keep (number 4) of acme.Backup was removed, and stored objects keep its value: write `reserved 4;` and "
        '`reserved "keep";` in acme.Backup, so that no later field reads it as its own'
    )


def test_a_renamed_field_is_a_warning() -> None:
    found = breaking(compiled(backup=spec("string a = 1;")), compiled(backup=spec("string b = 1;")), ROOTS)
    assert [(each.rule, each.path) for each in found] == [
        ("FIELD_SAME_JSON_NAME", "acme.Backup.b"),
        ("FIELD_SAME_NAME", "acme.Backup.b"),
    ]
    assert all(each.warning for each in found)


def test_provided_messages_are_left_alone() -> None:
    body = proto3('import "google/protobuf/%s.proto"; message Backup { google.protobuf.%s a = 1; }')
    before, after = (compiled(backup=body % pair) for pair in (("timestamp", "Timestamp"), ("duration", "Duration")))
    first, second = (load(each, root="acme.Backup").descriptor_set() for each in (before, after))
    assert breaking(before, before, ROOTS) == []
    for pair in ((before, after), (first, second)):
        assert rules(breaking(*pair, roots=ROOTS), warning=False) == [TYPE]


def test_messages_that_hold_each_other_end() -> None:
    both = compiled(
        backup=proto3("message Backup { A a = 1; } message A { B b = 1; } message B { A a = 1; Backup c = 2; }")
    )
    assert breaking(both, both, ROOTS) == []


def test_the_largest_messages_are_compared_in_bounded_work() -> None:
    fields, ranges = FileDescriptorSet(file=[file("")]), FileDescriptorSet(file=[file("")])
    fields.file[0].message_type.add(name="Backup")
    reserved = ranges.file[0].message_type.add(name="Backup")
    for number in range(1, ELEMENTS_MAX, 2):
        fields.file[0].message_type[0].field.add(name=f"f{number}", number=number, type=8, label=1)
        reserved.reserved_range.append(DescriptorProto.ReservedRange(start=number, end=number + 1))
    assert rules(breaking(fields, ranges, ROOTS), warning=False) == []
    assert len(rules(breaking(ranges, fields, ROOTS), warning=False)) == ELEMENTS_MAX // 2


TYPES = ["int32", "int64", "bool", "sint32", "fixed32", "double", "float", "string", "bytes", "Mode", "In", "Backup"]


def made(chance: Random) -> str:
    """Returns a file whose parts come from few names and numbers, so that two have much in common."""
    top = f"message Backup {{ In in = 20; Mode mode = 21; {message(chance)} }}"
    return proto3(f"{top} message In {{ {message(chance)} }} enum Mode {{ {values(chance)} }}")


def message(chance: Random) -> str:
    fields, taken = [], chance.sample(range(2, 9), 2)
    for number in chance.sample([each for each in range(1, 9) if each not in taken], chance.randint(2, 5)):
        label = chance.choice(["", "", "optional ", "repeated ", "oneof"])
        kind, name = chance.choice(TYPES), chance.choice([f"f{number}", f"f{number}", f"g{number}"])
        if label == "oneof":
            fields.append(f"oneof {chance.choice('xy')}{number} {{ {kind} {name} = {number}; }}")
        elif chance.random() < 0.15:
            fields.append(f"map<{chance.choice(['int32', 'int64', 'string'])}, {kind}> {name} = {number};")
        else:
            fields.append(f"{label}{kind} {name} = {number};")
    names = chance.sample(["old", "older"], chance.randint(0, 2))
    fields += [f"reserved {number};" for number in taken if chance.random() < 0.7]
    fields += [f'reserved "{name}";' for name in names]
    return " ".join(fields)


def values(chance: Random) -> str:
    kept, reserved = ["option allow_alias = true; ZERO = 0; NIL = 0;"], []
    for number in range(1, 4):
        if chance.random() < 0.6:
            kept.append(f"{chance.choice('AB')}{number} = {number};")
        elif chance.random() < 0.6:
            reserved.append(f"reserved {number};")
    return " ".join(kept + reserved)


@pytest.mark.parametrize("seed", range(2))
def test_versions_that_chance_made_have_the_verdict_of_buf(seed: int) -> None:
    chance = Random(seed)
    verdicts = Verdicts((made(chance), made(chance)) for _ in range(60))
    assert len(verdicts.wire) > 40
    for index in range(60):
        verdicts.agree(index)
