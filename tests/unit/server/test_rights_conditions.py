"""Conditions of objects that the engine cannot read."""

from __future__ import annotations

from typing import Any

import pytest

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


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("new.metadata.labels['a'] == 'x'", "labels", ({"a": "x"}, {"a": "y"})),
        ("new.metadata.labels.a == 'x' && new.metadata.name != ''", "name", ("web", "")),
        ("has(new.metadata.annotations.a)", "annotations", ({"a": ""}, {"b": ""})),
        ("[new.metadata].all(m, m.name == 'web')", "name", ("web", "db")),
        ("new.metadata.generation > 1", "generation", (2, 1)),
        ("new.metadata.finalizers.size() == 1", "finalizers", (["a"], ["a", "b"])),
    ],
)
def test_an_answer_that_is_remembered_is_of_the_values_that_the_condition_reads(
    text: str, field: str, values: Any
) -> None:
    condition = Condition(text, ("*",))
    answers = []
    for value in (*values, *values):
        metadata = Metadata(**{"name": "web", "labels": {"a": "x"}, field: value})
        ask = Ask(
            Subject("user", "ada"), "put", ObjectKey(UNIT, "system", "web"), None, None, StoredObject(metadata, b"")
        )
        answers.append(condition.holds(ask))
    assert answers == [True, False, True, False]
