"""Paths of fields, of every shape."""

from __future__ import annotations

from typing import Any, cast

import pytest
from google.protobuf.descriptor import Descriptor

from rube.api.errors import InvalidArgumentError
from rube.api.fields import copy_field, field_values, format_key, merge_fields, parse_path, remove_field
from tests.unit.api.fields.things import thing, thing_class


def descriptor() -> Descriptor:
    return cast(Descriptor, thing_class().DESCRIPTOR)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("text", [("text", None)]),
        ("part.deep.value", [("part", None), ("deep", None), ("value", None)]),
        ("parts", [("parts", None)]),
        ("parts.k", [("parts", "k")]),
        ("parts.k.value", [("parts", "k"), ("value", None)]),
        ("parts.`k.l`.value", [("parts", "k.l"), ("value", None)]),
        ("parts.`k``l`", [("parts", "k`l")]),
        ("parts.``", [("parts", "")]),
        ("names.7", [("names", 7)]),
        ("names.-7", [("names", -7)]),
        ("flags.true", [("flags", True)]),
        ("keyed.k.value", [("keyed", "k"), ("value", None)]),
        ("tags.a.b", [("tags", "a.b")]),
        ("tags.`a.b`", [("tags", "a.b")]),
        ("ints.3", [("ints", 3)]),
        ("times.a.b", [("times", "a.b")]),
        ("duration", [("duration", None)]),
        ("child.child.tags.x", [("child", None), ("child", None), ("tags", "x")]),
    ],
)
def test_a_path_leads_through_messages_and_keys(path: str, steps: list[tuple[str, Any]]) -> None:
    assert [(step.shape.name, step.key) for step in parse_path(descriptor(), path)] == steps


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("", "acme.Thing has no field ''"),
        ("texts", "acme.Thing has no field 'texts'; did you mean 'text'"),
        ("part.vlaue", "acme.Part has no field 'vlaue'; did you mean 'value'"),
        ("parts.k.vlaue", "acme.Part has no field 'vlaue'"),
        ("text.x", "spec.text has no fields of its own"),
        ("duration.seconds", "spec.duration has no fields of its own: it is one value"),
        ("list.0", "spec.list has no fields of its own: a list is named as a whole"),
        ("names.x", "the keys of names are whole numbers, not 'x'"),
        ("flags.1", "the keys of flags are true and false, not '1'"),
        ("parts.`k", "a backquote is not closed"),
        ("parts.`k`x", "a backquote is not closed before a dot or the end"),
        ("tags.`a`.b", "spec.tags.`a` has no fields of its own"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path: str, error: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        parse_path(descriptor(), path, "spec.")
    assert error in raised.value.message
    assert f"'spec.{path}'" in raised.value.message


@pytest.mark.parametrize("key", ["a", "a.b", "`", "``", "a`.`b", "", "ü", "a b", "-", 7, -7, True, False])
def test_a_key_is_read_as_it_was_written(key: str | int | bool) -> None:
    field = "flags" if isinstance(key, bool) else "names" if isinstance(key, int) else "parts"
    (step,) = parse_path(descriptor(), f"{field}.{format_key(key)}")
    assert step.key == key


@pytest.mark.parametrize(
    ("path", "source", "target", "result"),
    [
        ("text", "text: 'a'", "text: 'b' number: 1", "text: 'a' number: 1"),
        ("text", "", "text: 'b'", ""),
        ("number", "number: 0", "number: 3", "number: 0"),
        ("part", "part { value: 'a' }", "part { value: 'b' on: true }", "part { value: 'a' }"),
        ("part.value", "part { value: 'a' on: true }", "", "part { value: 'a' }"),
        ("part.value", "", "part { value: 'b' on: true }", "part { on: true }"),
        ("part.value", "", "", ""),
        ("part.deep.value", "part {}", "part { deep { value: 'b' } }", "part { deep {} }"),
        (
            "parts.k.value",
            "parts { key: 'k' value { value: 'a' } }",
            "parts { key: 'k' value { on: true } }",
            "parts { key: 'k' value { value: 'a' on: true } }",
        ),
        ("parts.k.value", "parts { key: 'k' value { value: 'a' } }", "", "parts { key: 'k' value { value: 'a' } }"),
        ("parts.k", "", "parts { key: 'k' value {} } parts { key: 'l' value {} }", "parts { key: 'l' value {} }"),
        ("parts.k", "parts { key: 'k' value { on: true } }", "", "parts { key: 'k' value { on: true } }"),
        ("parts", "parts { key: 'k' value {} }", "parts { key: 'l' value {} }", "parts { key: 'k' value {} }"),
        ("names.1", "names { key: 1 value: 'a' }", "names { key: 2 value: 'b' }",
         "names { key: 1 value: 'a' } names { key: 2 value: 'b' }"),
        ("names", "names { key: 1 value: 'a' }", "names { key: 2 value: 'b' }", "names { key: 1 value: 'a' }"),
        ("times.x", "times { key: 'x' value { seconds: 1 } }", "times { key: 'x' value { nanos: 1 } }",
         "times { key: 'x' value { seconds: 1 } }"),
        ("keyed.k", "keyed { name: 'k' value: 'a' }",
         "keyed { name: 'j' } keyed { name: 'k' on: true } keyed { name: 'l' }",
         "keyed { name: 'j' } keyed { name: 'k' value: 'a' } keyed { name: 'l' }"),
        ("keyed.k.value", "keyed { name: 'k' value: 'a' }", "keyed { name: 'j' }",
         "keyed { name: 'j' } keyed { name: 'k' value: 'a' }"),
        ("keyed.k", "", "keyed { name: 'j' } keyed { name: 'k' }", "keyed { name: 'j' }"),
        ("tags.x", "tags: 'x'", "tags: 'y'", "tags: 'y' tags: 'x'"),
        ("tags.x", "", "tags: 'x' tags: 'y' tags: 'x'", "tags: 'y'"),
        ("list", "list { value: 'a' }", "list { value: 'b' } list {}", "list { value: 'a' }"),
        ("a", "a: 'x'", "b { value: 'y' }", "a: 'x'"),
        ("b.value", "b { value: 'y' }", "a: 'x'", "b { value: 'y' }"),
        ("duration", "duration { seconds: 1 }", "duration { nanos: 5 }", "duration { seconds: 1 }"),
        ("ratio", "", "ratio: 1", ""),
        ("text", "child { text: 'no' }", "child { text: 'kept' }", "child { text: 'kept' }"),
    ],
)  # fmt: skip
def test_a_field_is_copied_or_cleared(path: str, source: str, target: str, result: str) -> None:
    found = thing(target)
    copy_field(parse_path(descriptor(), path), thing(source), found)
    assert found == thing(result)


@pytest.mark.parametrize(
    ("path", "target", "result"),
    [
        ("text", "text: 'a' number: 1", "number: 1"),
        ("part", "part {}", ""),
        ("part", "part { value: 'a' }", "part { value: 'a' }"),
        ("part.value", "part { value: 'a' }", "part {}"),
        ("parts.k", "parts { key: 'k' value {} }", ""),
        ("parts.k", "parts { key: 'k' value { on: false } }", "parts { key: 'k' value { on: false } }"),
        ("parts.k.value", "", ""),
        ("keyed.k", "keyed { name: 'k' }", ""),
        ("keyed.k", "keyed { name: 'k' value: 'a' }", "keyed { name: 'k' value: 'a' }"),
        ("tags.x", "tags: 'x' tags: 'y'", "tags: 'y'"),
        ("names.1", "names { key: 1 value: 'a' }", ""),
        ("duration", "duration { seconds: 1 }", ""),
    ],
)
def test_a_field_is_removed_and_a_message_with_others_in_it_stays(path: str, target: str, result: str) -> None:
    found = thing(target)
    remove_field(parse_path(descriptor(), path), found)
    assert found == thing(result)


def test_every_field_that_is_set_has_a_path_and_a_value() -> None:
    full = thing(
        "text: 't' number: 0 part { on: false deep {} } parts { key: 'k.l' value { value: 'v' } } "
        "names { key: -1 value: 'n' } keyed { name: 'k' value: 'v' } keyed { name: 'l' } tags: 'x y' "
        "list { value: 'a' } b { items: 'i' } duration { seconds: 1 } ratio: nan ints: 4 "
        "flags { key: true value: 'f' } times { key: 't' value { seconds: 2 } }"
    )
    found = field_values(full, "spec.")
    paths = (
        "text number part part.on part.deep parts.`k.l` parts.`k.l`.value names.-1 keyed.k keyed.k.value keyed.l "
        "tags.`x_y` list b b.items duration ratio ints.4 flags.true times.t"
    )
    assert sorted(found) == sorted(f"spec.{path.replace('_', ' ')}" for path in paths.split())
    assert found == field_values(full, "spec."), "values compare, not a number too"


def test_every_path_of_a_value_leads_back_to_its_field() -> None:
    full = thing("parts { key: '`k.l`' value { value: 'v' } } keyed { name: 'a.b' value: 'v' } tags: 'c`' ints: -4")
    for path in sorted(field_values(full), key=len, reverse=True):
        remove_field(parse_path(descriptor(), path), full)
    assert full == thing("")


@pytest.mark.parametrize(
    ("source", "target", "result"),
    [
        ("text: 'a'", "text: 'b' number: 1", "text: 'a' number: 1"),
        ("part { value: 'a' }", "part { on: true }", "part { value: 'a' on: true }"),
        ("part {}", "", "part {}"),
        ("b { value: 'a' }", "a: 'x'", "b { value: 'a' }"),
        ("list { value: 'a' }", "list { on: true } list {}", "list { value: 'a' }"),
        ("duration { seconds: 1 }", "duration { nanos: 1 }", "duration { seconds: 1 }"),
        ("any { type_url: 'x' }", "any { type_url: 'y' value: 'z' }", "any { type_url: 'x' }"),
        (
            "parts { key: 'k' value { value: 'a' } }",
            "parts { key: 'k' value { on: true } } parts { key: 'l' value {} }",
            "parts { key: 'k' value { value: 'a' on: true } } parts { key: 'l' value {} }",
        ),
        (
            "times { key: 'k' value { seconds: 1 } }",
            "times { key: 'k' value { nanos: 1 } }",
            "times { key: 'k' value { seconds: 1 } }",
        ),
        (
            "keyed { name: 'n' } keyed { name: 'c' value: 'v' } keyed { name: 'a' }",
            "keyed { name: 'a' on: true } keyed { name: 'b' } keyed { name: 'c' on: true }",
            "keyed { name: 'n' } keyed { name: 'b' } "
            "keyed { name: 'c' value: 'v' on: true } keyed { name: 'a' on: true }",
        ),
        ("tags: 'b' tags: 'a' tags: 'n'", "tags: 'a' tags: 'o' tags: 'b'", "tags: 'b' tags: 'o' tags: 'a' tags: 'n'"),
    ],
)
def test_a_merge_sets_what_is_set_and_keeps_the_rest(source: str, target: str, result: str) -> None:
    found = thing(target)
    merge_fields(thing(source), found)
    assert found == thing(result)
