"""Conditions of objects that the engine cannot read."""

from __future__ import annotations

from rube.api import Metadata, Unit
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, pack
from rube.server.rights.conditions import Ask, Condition
from rube.server.rights.subjects import Subject
from rube.server.stored_object import StoredObject, spec_field

UNIT = "api.systemd.Unit"


def test_a_condition_on_a_spec_that_cannot_be_read_does_not_hold() -> None:
    condition = Condition("old.spec.description == 'x'", (UNIT,))
    spec = pack(Unit(description="x"))
    asked = [
        Ask(
            Subject("user", "ada"),
            "list",
            ObjectKey(UNIT, "system", "web"),
            BUILTIN.kind(UNIT),
            StoredObject(Metadata(), spec_field(spec.type_url, value)),
        )
        for value in (spec.value, spec.value[:-1])
    ]
    assert [condition.holds(ask) for ask in asked] == [True, False]
    assert "it fails" in condition.failure(asked[1])
