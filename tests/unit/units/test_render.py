"""Rendering: the file says exactly what the fields say, whatever the values hold."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api import Condition, Install, Service, Unit
from rube.api.errors import InvalidArgumentError
from rube.units.checks import unit_violations
from rube.units.names import parse_unit_name, unit_name
from rube.units.render import (
    INSTALL_LINES,
    SERVICE_LINES,
    UNIT_LINES,
    digest_of,
    directives,
    parse_marker,
    render_unit,
)
from rube.units.unit_file import Directive, parse_unit_file
from tests.real.random_units import random_unit

SEED = """\
# Made by Rube from an object of its apiserver: changes here are overwritten.
# rube: uid=0123 generation=7 digest={digest}
# Don't run this without consulting me firtst

[Unit]
Description=hey
Documentation=file://
Wants=graphical.target

[Service]
Type=forking
PIDFile=/blablabla/pid
ExecStart=echo "Hey You!"
RestartSec=60s
TimeoutSec=30s
RuntimeMaxSec=3600s
WatchdogSec=60s
Restart=on-failure
SuccessExitStatus=0 1 2
RestartPreventExitStatus=66
OOMPolicy=kill

[Install]
WantedBy=multi-user.target
"""


def seed_unit() -> Unit:
    """The seed's example."""
    unit = Unit(description="hey", doc_url=["file://"], wants=["graphical.target"])
    service = unit.service
    service.title = "Don't run this without consulting me firtst"
    service.type = Service.FORKING
    service.pid_file = "/blablabla/pid"
    service.exec.start.append('echo "Hey You!"')
    service.time.restart, service.time.timeout, service.time.limit, service.time.watchdog = 60, 30, 3600, 60
    service.restart = Service.ON_FAILURE
    service.status.success.extend([0, 1, 2])
    service.status.prevent_restart.append(66)
    service.oom_policy = Service.KILL
    return unit


def unquote_assignment(text: str) -> tuple[str, str]:
    """One item of Environment=, C-unescaped and unquoted as extract_first_word() does."""
    assert text[0] == text[-1] == '"'
    out, body = "", text[1:-1]
    while body:
        if body[0] == "\\":
            named = {"n": "\n", "t": "\t", "\\": "\\", '"': '"'}
            out += chr(int(body[2:4], 16)) if body[1] == "x" else named[body[1]]
            body = body[4:] if body[1] == "x" else body[2:]
        else:
            assert body[0] != '"'
            out, body = out + body[0], body[1:]
    name, _, value = out.partition("=")
    return name, value


def _parsed(text: str) -> list[Directive]:
    return parse_unit_file(text.encode())


def test_the_seeds_example_renders_as_written_by_hand() -> None:
    unit = seed_unit()
    assert render_unit(unit, uid="0123", generation=7) == SEED.format(digest=digest_of(unit))


def test_every_field_is_written_or_is_for_others_to_read() -> None:
    others = {"enabled", "state", "node_lost", "service", "install"}
    assert set(Unit.DESCRIPTOR.fields_by_name) == UNIT_LINES.keys() | others
    assert set(Service.DESCRIPTOR.fields_by_name) == SERVICE_LINES.keys() | {"title"}
    assert set(Install.DESCRIPTOR.fields_by_name) == INSTALL_LINES.keys()


def test_the_marker_is_read_back() -> None:
    unit = seed_unit()
    marker = parse_marker(render_unit(unit, uid="0123", generation=7))
    assert marker == ("0123", 7, digest_of(unit))
    assert parse_marker("[Unit]\nDescription=another program's\n") is None


def test_the_digest_covers_the_definition_and_not_what_needs_no_restart() -> None:
    unit, other = seed_unit(), seed_unit()
    other.enabled, other.state = True, Unit.STOPPED
    assert digest_of(other) == digest_of(unit)
    other.description = "ho"
    assert digest_of(other) != digest_of(unit)


TEXT_FIELDS = ("pid_file", "bus_name", "user", "working_directory", "standard_output", "protect_system", "slice")


@pytest.mark.parametrize("bad", ["a\nExecStart=/bin/evil", "a\r[Service]", "a\0b", "a\x1bb", "a\\", "a\\\\\\"])
@pytest.mark.parametrize("field", TEXT_FIELDS)
def test_a_value_that_would_end_or_join_a_line_is_refused_by_name(field: str, bad: str) -> None:
    unit = seed_unit()
    setattr(unit.service, field, bad)
    with pytest.raises(InvalidArgumentError, match=f"service.{field}") as caught:
        render_unit(unit, uid="u", generation=1)
    assert caught.value.metadata["field"] == f"service.{field}"


@pytest.mark.parametrize("bad", ["", " ", "/bin/a\n/bin/b", "/bin/a \\"])
def test_a_bad_command_is_refused_with_its_index(bad: str) -> None:
    unit = seed_unit()
    unit.service.exec.start.append(bad)
    with pytest.raises(InvalidArgumentError, match=r"service.exec.start\[1\]"):
        render_unit(unit, uid="u", generation=1)


def test_an_item_of_a_list_holds_no_blank() -> None:
    with pytest.raises(InvalidArgumentError, match=r"wants\[0\].*blank"):
        directives(Unit(wants=["a.target b.target"]))


def test_a_condition_type_cannot_smuggle_a_directive() -> None:
    with pytest.raises(InvalidArgumentError, match=r"condition\[0\].type"):
        directives(Unit(condition=[Condition(type="PathExists=/x\nExecStart", value="/bin/evil")]))


def test_each_line_of_a_title_is_a_comment() -> None:
    unit = seed_unit()
    unit.service.title = "one\nExecStart=/bin/evil\n[Install] \\"
    plain = seed_unit()
    plain.service.title = ""
    text = render_unit(unit, uid="u", generation=1)
    assert _parsed(text) == _parsed(render_unit(plain, uid="u", generation=1))


_VALUES = st.text(max_size=30)


@given(
    description=_VALUES,
    title=_VALUES,
    start=st.lists(_VALUES, max_size=3),
    wants=st.lists(_VALUES, max_size=3),
    environment=st.dictionaries(st.sampled_from(["A", "B_2", "_c"]), _VALUES, max_size=3),
)
def test_the_file_holds_the_directives_of_the_fields_and_no_other(
    description: str, title: str, start: list[str], wants: list[str], environment: dict[str, str]
) -> None:
    unit = Unit(description=description, wants=wants)
    unit.service.title = title
    unit.service.exec.start.extend(start)
    for name, value in environment.items():
        unit.service.environment[name] = value
    try:
        text = render_unit(unit, uid="u", generation=1)
    except InvalidArgumentError:
        return
    blanks = " \t"
    expected = [("Unit", "Description", description.strip(blanks))] if description.strip(blanks) else []
    expected += [("Unit", "Wants", each.strip(blanks)) for each in wants]
    expected += [("Service", "ExecStart", each.strip(blanks)) for each in start]
    parsed = _parsed(text)
    assigned = [unquote_assignment(value) for _, key, value in parsed if key == "Environment"]
    assert [each for each in parsed if each[1] != "Environment"] == [
        *expected,
        ("Install", "WantedBy", "multi-user.target"),
    ]
    assert dict(assigned) == environment


_LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(namespace=_LABELS | st.just(""), name=_LABELS)
def test_a_units_name_gives_back_namespace_and_name(namespace: str, name: str) -> None:
    unit = unit_name(namespace, name)
    assert parse_unit_name(unit) == (namespace, name)
    assert len(unit) < 256


@pytest.mark.parametrize(
    "unit", ["ssh.service", "rube-a.service", "rube-a.b.socket", "rube-A.b.service", "rube-a.b.c.service"]
)
def test_names_made_by_others_are_not_ours(unit: str) -> None:
    assert parse_unit_name(unit) is None


def _joined_lines(text: str) -> list[str]:
    """The lines whose last backslash is not itself escaped. Only LF ends a line for systemd, U+2028 does not."""
    return [line for line in text.split("\n") if (len(line) - len(line.rstrip("\\"))) % 2]


@pytest.mark.parametrize("end", ["\\\u2028", "\\\u2029", "\\\x85", "\\\u00a0", "\\\\"])
def test_a_backslash_before_a_separator_of_unicode_joins_nothing(end: str) -> None:
    unit = seed_unit()
    unit.condition.add(type="Host", value=f"a{end}")
    unit.service.exec.start.append(f"/bin/a {end}")
    unit.service.environment["A"] = end
    text = render_unit(unit, uid="u", generation=1)
    assert parse_unit_file(text.encode()) == directives(unit)
    assert not _joined_lines(text)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_a_random_unit_is_refused_or_rendered_so_that_it_reads_back(dice: random.Random) -> None:
    unit = random_unit(dice, noise=0.6, rare=0.05)
    if unit_violations(unit):
        return
    text = render_unit(unit, uid="u", generation=1)
    assert parse_unit_file(text.encode()) == directives(unit)
    assert not _joined_lines(text)


@settings(max_examples=300)
@given(st.randoms(use_true_random=False))
def test_what_renders_is_never_read_as_something_else(dice: random.Random) -> None:
    """The checks would refuse it, too; rendering stands on its own."""
    unit = random_unit(dice, noise=0.9, rare=0.3)
    try:
        text = render_unit(unit, uid="u", generation=1)
    except InvalidArgumentError:
        return
    assert parse_unit_file(text.encode()) == directives(unit)
