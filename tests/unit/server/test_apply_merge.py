"""The merge of an apply, with a type of every shape of field: pure, from object to object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from rube.api import Metadata
from rube.api.fields import field_values
from rube.api.keys import TYPE_URL_PREFIX
from rube.server.apply import AppliedFields, merge
from rube.server.owners import decode_owners, encode_owners, object_values, owners_after, settled
from rube.server.specs import spec_of
from rube.server.stored_object import StoredObject, spec_field
from tests.unit.api.fields.things import thing, things

KEY = b"acme.Thing/system/a"


class Playground:
    """One object, as applies and puts make it."""

    def __init__(self) -> None:
        self.stored: StoredObject | None = None

    def apply(self, owner: str, text: str, *, force: bool = False) -> list[tuple[str, str]]:
        spec = thing(text)
        config = AppliedFields(KEY, Metadata(), spec_of(spec), {}, field_values(spec, "spec.", check_keys=True))
        found = merge(things(), self.stored, config, owner)
        if found.conflicts and not force:
            return [(conflict.owner, conflict.field.removeprefix("spec.")) for conflict in found.conflicts]
        owners = settled(found.owners, object_values(things(), found.wanted))
        self.stored = _with_owners(found.wanted, owners)
        return []

    def put(self, text: str) -> None:
        after = _stored(text)
        if self.stored is not None:
            after = _with_owners(after, owners_after(things(), self.stored, after, "put"))
        self.stored = after

    @property
    def spec(self) -> object:
        assert self.stored is not None
        return things().unpack(self.stored.spec_any())

    @property
    def owners(self) -> Mapping[str, list[str]]:
        assert self.stored is not None
        assert self.stored.owners is not None
        return {
            owner: sorted(field.removeprefix("spec.") for field in fields)
            for owner, fields in self.stored.owners.items()
        }


def _stored(text: str) -> StoredObject:
    value = thing(text).SerializeToString(deterministic=True)
    return StoredObject(Metadata(), spec_field(f"{TYPE_URL_PREFIX}acme.Thing", value))


def _with_owners(obj: StoredObject, owners: Mapping[str, frozenset[str]]) -> StoredObject:
    obj.metadata.field_owners = True
    return StoredObject(obj.metadata, obj.spec, obj.status, owners)


Conflicts = Sequence[tuple[str, str]]


@pytest.mark.parametrize(
    ("first", "second", "conflicts"),
    [
        ("a: 'x'", "a: 'x'", []),
        ("a: 'x'", "a: 'y'", [("x", "a")]),
        ("a: 'x'", "b { value: 'y' }", [("x", "a")]),
        ("b { value: 'x' on: true }", "a: 'y'", [("x", "b"), ("x", "b.on"), ("x", "b.value")]),
        ("b { value: 'x' }", "b { on: true }", []),
        ("number: 0", "number: 1", [("x", "number")]),
        ("number: 1", "number: 0", [("x", "number")]),
        ("duration { seconds: 1 }", "duration { nanos: 1 }", [("x", "duration")]),
        ("any { type_url: 't' value: 'a' }", "any { type_url: 't' value: 'b' }", [("x", "any")]),
        ("times { key: 't' value { seconds: 1 } }", "times { key: 't' value { nanos: 1 } }", [("x", "times.t")]),
        ("list { name: 'k' value: 'a' }", "list { name: 'k' value: 'b' }", [("x", "list")]),
        ("keyed { name: 'k' value: 'a' }", "keyed { name: 'k' value: 'b' }", [("x", "keyed.k.value")]),
        ("keyed { name: 'k' value: 'a' }", "keyed { name: 'k' on: true } keyed { name: 'l' }", []),
        (
            "parts { key: 'k' value { deep { value: 'a' } } }",
            "parts { key: 'k' value { deep { value: 'b' } on: true } }",
            [("x", "parts.k.deep.value")],
        ),
        ("names { key: 1 value: 'a' }", "names { key: 1 value: 'b' } names { key: 2 value: 'c' }", [("x", "names.1")]),
        ("flags { key: true value: 'a' }", "flags { key: false value: 'b' }", []),
        ("tags: 'a' ints: 1", "tags: 'b' ints: 2", []),
        ("ratio: nan", "ratio: nan", []),
        ("ratio: 0.1", "ratio: 0.2", [("x", "ratio")]),
        ("child { child { text: 'a' } }", "child { child { text: 'b' } }", [("x", "child.child.text")]),
        ("part { items: 'a' }", "part { items: 'a' items: 'b' }", [("x", "part.items")]),
    ],
)
def test_conflicts_of_a_second_owner(first: str, second: str, conflicts: Conflicts) -> None:
    play = Playground()
    play.apply("x", first)
    before = play.stored
    assert play.apply("y", second) == conflicts
    if conflicts:
        assert play.stored is before
        assert play.apply("y", second, force=True) == []
        for _, field in conflicts:
            assert field not in play.owners.get("x", ())


def test_a_oneof_switches_as_a_whole() -> None:
    play = Playground()
    play.apply("x", "a: 'x' text: 't'")
    play.apply("x", "b { value: 'v' } text: 't'")
    assert (play.spec, play.owners) == (thing("b { value: 'v' } text: 't'"), {"x": ["b", "b.value", "text"]})
    play.apply("y", "a: 'y'", force=True)
    assert (play.spec, play.owners) == (thing("a: 'y' text: 't'"), {"x": ["text"], "y": ["a"]})
    assert play.apply("x", "b { value: 'v' }") == [("y", "a")]


def test_an_item_stays_while_anyone_owns_something_in_it() -> None:
    play = Playground()
    play.apply("x", "keyed { name: 'k' value: 'v' } parts { key: 'p' value { value: 'v' } }")
    play.put("keyed { name: 'k' value: 'v' on: true } parts { key: 'p' value { value: 'v' on: true } }")
    play.apply("x", "")
    assert play.spec == thing("keyed { name: 'k' on: true } parts { key: 'p' value { on: true } }")
    assert play.owners == {"put": ["keyed.k", "keyed.k.on", "parts.p", "parts.p.on"]}


def test_an_empty_item_is_owned() -> None:
    play = Playground()
    play.apply("x", "parts { key: 'p' value {} } keyed { name: 'k' }")
    play.apply("y", "parts { key: 'p' value { value: 'v' } } keyed { name: 'k' value: 'v' }")
    play.apply("y", "")
    assert play.spec == thing("parts { key: 'p' value {} } keyed { name: 'k' }")
    play.apply("x", "")
    assert play.spec == thing("")


def test_every_field_of_an_object_that_was_put_is_that_of_put() -> None:
    play = Playground()
    play.put("text: 'a' part { value: 'b' }")
    assert play.apply("x", "text: 'c' part { value: 'd' on: true }") == [("put", "part.value"), ("put", "text")]
    assert play.apply("x", "text: 'a' part { on: true }") == []
    assert play.owners == {"put": ["part", "part.value", "text"], "x": ["part", "part.on", "text"]}


def test_a_field_that_the_type_lost_is_owned_by_nobody() -> None:
    play = Playground()
    play.apply("x", "text: 'a'")
    assert play.stored is not None
    play.stored = _with_owners(play.stored, {"x": frozenset({"spec.text", "spec.gone", "spec.gone.below"})})
    assert play.apply("x", "number: 1") == []
    assert (play.spec, play.owners) == (thing("number: 1"), {"x": ["number"]})


def test_a_field_without_an_owner_becomes_that_of_put() -> None:
    values = field_values(thing("part { value: 'v' } text: 't'"), "spec.")
    owners = settled({"x": frozenset({"spec.text", "spec.number"})}, values)
    assert owners == {"put": frozenset({"spec.part", "spec.part.value"}), "x": frozenset({"spec.text"})}


def test_owners_are_stored_in_one_form() -> None:
    owners = {"y": frozenset({"spec.b", "spec.a"}), "x": frozenset({"spec.`a.b`"})}
    assert decode_owners(KEY, encode_owners(owners)) == owners
    assert encode_owners(dict(reversed(owners.items()))) == encode_owners(owners)
