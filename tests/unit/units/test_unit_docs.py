"""units.md and the comments of systemd.proto name every field, every state and what the supervisor can't do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from rube.api import Unit, UnitStatus
from rube.api.textproto import parse_documents
from rube.api.types import BUILTIN
from rube.units.checks import unit_violations
from rube.units.drivers.supervisor.plan import unsupported
from rube.units.names import unit_name
from rube.units.service.states import ACTIVE_STATES, Result, State
from ructl.explain import load_comments
from tests.doc_blocks import ROOT

PAGE = ROOT / "docs" / "reference" / "units.md"


FOR_USERS = ("Unit", "Condition", "StartLimit", "NodeLost", "Service", "Install", "UnitStatus")


def _declarations() -> Iterator[tuple[str, str]]:
    """Names and comments of what systemd.proto declares for users."""
    words = load_comments()
    for message in words.messages.values():
        if message.name.startswith("api.systemd.") and message.name.split(".")[2] in FOR_USERS:
            yield message.name, message.comment
            yield from ((f"{message.name}.{field.name}", field.comment) for field in message.fields)
    for enum in words.enums.values():
        if enum.name.startswith("api.systemd.") and enum.name.split(".")[2] in FOR_USERS:
            yield enum.name, enum.comment
            yield from ((f"{enum.name}.{value}", comment) for value, comment in enum.values)


DECLARED = dict(_declarations())


@pytest.mark.parametrize("name", DECLARED)
def test_every_declaration_has_a_comment(name: str) -> None:
    assert DECLARED[name], f"rube/api/systemd.proto: {name} has no comment"


def test_all_fields_are_looked_at() -> None:
    assert {f"api.systemd.Unit.{field.name}" for field in Unit.DESCRIPTOR.fields} <= set(DECLARED)
    assert {f"api.systemd.UnitStatus.{field.name}" for field in UnitStatus.DESCRIPTOR.fields} <= set(DECLARED)
    assert {"api.systemd.Service.Limits.cpu_percent", "api.systemd.Service.Restart.ALWAYS"} <= set(DECLARED)


@pytest.mark.parametrize("word", [*State, *Result], ids=lambda word: word.value)
def test_every_state_and_result_is_explained(word: State | Result) -> None:
    assert f"`{word.value}`" in PAGE.read_text().partition("## Every field")[0]


@pytest.mark.parametrize("word", sorted(set(ACTIVE_STATES.values())))
def test_every_active_state_is_explained(word: str) -> None:
    assert f"| `{word}` |" in PAGE.read_text()


def test_what_the_supervisor_does_not_do_is_all_listed() -> None:
    unit = Unit(wants=["a"], requires=["a"], requisite=["a"], binds_to=["a"], part_of=["a"], conflicts=["a"])
    unit.before.append("a")
    unit.after.append("a")
    unit.on_failure.append("a")
    service = unit.service
    for field in service.DESCRIPTOR.fields:
        if field.name in ("type", "restart", "oom_policy", "notify_access"):
            setattr(service, field.name, 2)
        elif field.is_repeated and field.message_type is None:
            getattr(service, field.name).append("x")
        elif field.cpp_type == field.CPPTYPE_STRING and not field.is_repeated:
            setattr(service, field.name, "x")
        elif field.cpp_type == field.CPPTYPE_BOOL:
            setattr(service, field.name, True)
    for field in service.limits.DESCRIPTOR.fields:
        setattr(service.limits, field.name, 1)
    section = PAGE.read_text().partition("## Without systemd")[2].partition("## Every field")[0]
    named = [field.rpartition(".")[2] for field in unsupported(unit) if not field.startswith("service.standard_")]
    assert len(named) > 15
    assert [field for field in named if f"`{field}`" not in section] == []


def test_the_example_is_one_that_can_be_put() -> None:
    (block,) = re.findall(r"```prototext\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (document,) = parse_documents(block, filename="docs/reference/units.md")
    (obj,) = document.objects
    unit = BUILTIN.unpack(obj.spec)
    assert isinstance(unit, Unit)
    assert unit_violations(unit) == []
    assert unit_name(obj.metadata.namespace, obj.metadata.name) in PAGE.read_text()
