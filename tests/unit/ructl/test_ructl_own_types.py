"""Objects of a pushed type in `ructl`: messages in an Any, in maps and around plain values, and versions as source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from rube.api import Object, Type, textproto
from rube.api.errors import InvalidArgumentError
from rube.api.types import Kind
from rube.api.types.protos import types_of
from rube.api.types.pushed import kind_from, kind_of
from rube.compiler import compile_protos
from ructl.cluster_types import TYPES, ClusterTypes
from ructl.conditions import condition_words, parse_condition
from ructl.formats import parse_json, parse_yaml
from ructl.output import json_value, yaml_text
from ructl.places import full_type_name
from ructl.proto_source import definitions, difference
from ructl.types import changes_of

PET = """syntax = "proto3";
package acme;
import "buf/validate/validate.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "rube/api/resource.proto";
message Pet {
  option (api.resource) = {
    status: "acme.Toy"
    columns {
      name: "KIND"
      path: "spec.kind"
    }
    short_names: "pt"
  };
  string kind = 1 [json_name = "KIND", deprecated = true, (buf.validate.field).string = { min_len: 1 max_len: 9 }];
  repeated google.protobuf.Any extra = 2 [(buf.validate.field).repeated.max_items = 3];
  map<string, Toy> toys = 4;
  map<int32, Toy> shelf = 14;
  map<int32, string> names = 15;
  google.protobuf.StringValue nick = 5;
  google.protobuf.Int32Value age = 6;
  google.protobuf.Duration walk = 7;
  optional bool tame = 11;
  Mood mood = 12;
  oneof home {
    option (buf.validate.oneof).required = true;
    string cage = 9;
    Toy garden = 10;
  }
  reserved 3, 20 to 30, 100 to max;
  reserved "fur", "tail";
}
message Toy {
  string colour = 1;
  int32 size = 2;
  google.protobuf.BoolValue loud = 3;
}
enum Mood {
  option allow_alias = true;
  CALM = 0;
  QUIET = 0;
  ANGRY = 1 [deprecated = true];
  reserved 5, 7 to 9, 100 to max;
  reserved "SAD";
}
"""
REX = """
metadata { namespace: "d" name: "rex" }
spec {
  [rube/acme.Pet] {
    kind: "dog"
    extra { [rube/acme.Toy] { colour: "red" } }
    extra { [type.googleapis.com/google.protobuf.StringValue] { value: "x" } }
    extra { [rube/api.systemd.Unit] { description: "u" } }
    toys { key: "a.b" value { colour: "green" } }
    toys { key: "ball" value { colour: "blue" size: 3 loud { value: true } } }
    shelf { key: 7 value { size: 2 } }
    names { key: 1 value: "one" }
    nick { value: "r" }
    walk { seconds: 90 }
    cage: "small"
  }
}
"""


def compiled(path: Path, source: str) -> FileDescriptorSet:
    (path / "pet.proto").write_text(source)
    return compile_protos([str(path / "pet.proto")])


@pytest.fixture
def rex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Object:
    """An object of the type, which the commands know."""
    (pushed,) = types_of(compiled(tmp_path, PET), ["pet.proto"])
    monkeypatch.setitem(TYPES._kinds, "acme.Pet", kind_from(pushed))
    return textproto.parse(REX, Object, filename="rex", types=TYPES)


def test_messages_in_an_any_are_shown_and_read_in_every_format(rex: Object) -> None:
    text = textproto.format(rex, TYPES)
    assert '[type.googleapis.com/google.protobuf.StringValue] {\n        value: "x"' in text
    assert textproto.parse(text, Object, filename="f", types=TYPES) == rex
    value = json_value(rex)
    assert value["spec"]["extra"][2] == {"@type": "rube/api.systemd.Unit", "description": "u"}
    for (document,) in (parse_json(json.dumps(value), "f"), parse_yaml(yaml_text(value), "f")):
        (obj,) = document.objects
        assert textproto.format(obj, TYPES) == text


@pytest.mark.parametrize(
    ("condition", "lack"),
    [
        ("spec.toys.ball.size>=3", ""),
        ("spec.toys.ball.size>=4", "spec.toys.ball.size is 3"),
        ("spec.toys.`a.b`.colour=green", ""),
        ("spec.toys.ball.loud=true", ""),
        ("spec.toys.ball", ""),
        ("spec.toys.stick.size=1", "spec.toys.stick.size is 0"),
        ("spec.shelf.7.size=2", ""),
        ("spec.names.1=one", ""),
        ("spec.nick=r", ""),
        ("spec.nick!=r", "spec.nick is r"),
        ("spec.age=0", "spec.age is not set"),
        ("spec.age>=0", "spec.age is not set"),
        ("spec.walk=90s", ""),
    ],
)
def test_a_condition_reaches_into_maps_and_messages_around_values(rex: Object, condition: str, lack: str) -> None:
    assert parse_condition(condition, "acme.Pet").lack(rex) == lack


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("spec.toys", "spec.toys is a map: add a key"),
        ("spec.toys.ball=3", "spec.toys.ball is a whole message"),
        ("spec.toys.ball.siz=3", "acme.Toy has no field 'siz'; did you mean 'size'"),
        ("spec.shelf.x.size=3", "shelf has no key 'x': its keys are numbers"),
        ("spec.age=x", "spec.age is a number, not 'x'"),
        ("spec.toys.ball.loud=maybe", "is true or false, not 'maybe'"),
        ("spec.nick>=1", "spec.nick is no number"),
        ("spec.nick.length=1", "spec.nick has no fields"),
    ],
)
def test_a_condition_that_can_never_hold_says_so(rex: Object, condition: str, complaint: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_condition(condition, "acme.Pet")
    assert complaint in raised.value.message


def test_conditions_are_completed_below_a_key(rex: Object) -> None:
    assert "spec.toys." in condition_words("acme.Pet", "spec.")
    assert condition_words("acme.Pet", "spec.toys.") == []
    assert condition_words("acme.Pet", "spec.toys.ball.") == [
        "spec.toys.ball.colour=",
        "spec.toys.ball.size=",
        "spec.toys.ball.loud=",
    ]
    assert condition_words("acme.Pet", "spec.toys.ball.loud=") == [
        "spec.toys.ball.loud=true",
        "spec.toys.ball.loud=false",
    ]


def test_definitions_compile_to_what_they_were_made_of(tmp_path: Path) -> None:
    before = compiled(tmp_path, PET)
    shown = definitions(FileDescriptorSet(file=[before.file[-1]]))
    imports = [f'import "{name}";' for name in before.file[-1].dependency]
    lines = [line for definition in shown.values() for line in definition]
    after = compiled(tmp_path, "\n".join([lines[0], *imports, *lines[1:]]))
    for compilation in (before, after):
        compilation.file[-1].ClearField("source_code_info")
        compilation.file[-1].message_type.sort(key=lambda message: message.name)
    assert after.file[-1] == before.file[-1]


def test_a_difference_is_a_hunk_for_each_definition(tmp_path: Path) -> None:
    changed = PET.replace("int32 size = 2;", "int64 size = 2;").replace("enum Mood", "message New {}\nenum Mood")
    versions = [definitions(FileDescriptorSet(file=[compiled(tmp_path, text).file[-1]])) for text in (PET, changed)]
    assert [*difference(*versions)] == [
        [
            "@@ message acme.Toy @@",
            " message Toy {",
            "   string colour = 1;",
            "-  int32 size = 2;",
            "+  int64 size = 2;",
            "   google.protobuf.BoolValue loud = 3;",
            " }",
        ],
        ["@@ message acme.New @@", "+message New {", "+}"],
    ]
    assert [*difference(versions[0], versions[0])] == []


def test_what_differs_beside_definitions_is_said(tmp_path: Path) -> None:
    def version(source: str, file: str = "pet.proto") -> Object:
        (tmp_path / file).write_text(source)
        (obj,) = types_of(compile_protos([str(tmp_path / file)]), [file])
        return obj

    before = version(PET)
    assert changes_of([before], [version(PET)]) == []
    moved = "acme.Pet: only the names of its files: pet.proto become animal.proto"
    assert changes_of([before], [version(PET, "animal.proto")]) == [moved]
    commented = "acme.Pet: only comments, the order of definitions, or options of files"
    assert changes_of([before], [version(PET.replace("message Toy", "// Red.\nmessage Toy"))]) == [commented]
    (hunk,) = changes_of([before], [version(PET.replace("colour = 1", "color = 1"), "animal.proto")])
    assert hunk.startswith("@@ message acme.Toy @@")


def test_a_short_name_is_found_among_types_of_which_only_that_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [
        PET.replace("acme", f"zoo{number}").replace('"pt"', f'"pt{number}"').replace("Pet", f"Pet{number}")
        for number in range(3)
    ]
    pushed = [obj for source in sources for obj in types_of(compiled(tmp_path, source), ["pet.proto"])]
    types = ClusterTypes()
    monkeypatch.setattr(types, "_ask", lambda question, timeout_s: pushed)
    monkeypatch.setattr("ructl.places.TYPES", types)
    read: list[str] = []

    def counted(name: str, spec: Type) -> Kind:
        read.append(name)
        return kind_of(name, spec)

    monkeypatch.setattr("rube.api.types.pushed.kind_of", counted)
    assert full_type_name("pt1") == "zoo1.Pet1"
    assert full_type_name("pet2") == "zoo2.Pet2"
    assert read == []
    assert types.kind("zoo1.Pet1").spec.DESCRIPTOR.full_name == "zoo1.Pet1"
    assert read == ["zoo1.Pet1"]
    assert {"zoo0.Pet0", "zoo1.Pet1", "zoo2.Pet2"} < {kind.name for kind in types.kinds()}
