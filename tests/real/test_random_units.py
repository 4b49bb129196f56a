"""Every unit that Rube takes is one that a real systemd loads, and each value arrives there as it was written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import text_format

from rube.api import Unit
from rube.host import RealClock
from rube.units.checks import unit_violations
from rube.units.drivers.dbus.bus import SystemdBus
from rube.units.drivers.machine import machine_specifiers
from rube.units.drivers.supervisor.plan import plan_of
from rube.units.render import directives, render_unit
from rube.units.service.specifiers import replace_specifiers, specifiers_of_name
from tests.real.random_units import random_unit
from tests.real.systemd_manager import SystemdManager, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")

UNITS = 300


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    with SystemdManager() as started:
        yield started


def _valid_units(seed: int, count: int) -> Iterator[tuple[str, Unit]]:
    dice = random.Random(seed)
    made = 0
    while made < count:
        unit = random_unit(dice)
        if not unit_violations(unit):
            yield f"rube-random.u{made}.service", unit
            made += 1


def test_random_units_are_loaded_as_they_were_written(manager: SystemdManager) -> None:
    units = dict(_valid_units(3, UNITS))
    for name, unit in units.items():
        (manager.unit_directory / name).write_text(render_unit(unit, uid="u", generation=1))
    manager.call("Reload")

    async def look() -> list[str]:
        bus = SystemdBus(RealClock(), manager.bus_address)
        try:
            return [each for name, unit in units.items() for each in await _differences(bus, name, unit)]
        finally:
            await bus.close()

    assert asyncio.run(look()) == []


async def _differences(bus: SystemdBus, name: str, unit: Unit) -> list[str]:
    seen = await bus.properties(name, "Unit")
    shown = f"{text_format.MessageToString(unit, as_one_line=True)}"
    if seen["LoadState"] != "loaded":
        return [f"{seen['LoadState']} {seen['LoadError']}: {shown}"]
    service = await bus.properties(name, "Service")
    wanted, got = _wanted(name, unit), _got(seen, service)
    return [f"{key}: {wanted[key]!r} became {got[key]!r}: {shown}" for key in wanted if wanted[key] != got[key]]


def _wanted(name: str, unit: Unit) -> dict[str, object]:
    """The values that systemd must have understood, by property, without those of settings that are left out."""
    specifiers = {**machine_specifiers(), **specifiers_of_name(name)}
    plan = plan_of(name, unit, machine=specifiers)
    written: dict[str, str] = {}
    for directive in directives(unit):
        written[directive.key] = replace_specifiers(directive.value, specifiers)
    wanted: dict[str, object] = {key: written[key] for key in _PLAIN if key in written}
    wanted["Environment"] = {f"{key}={value}" for key, value in plan.environment.items()}
    for key, each in (("ExecStart", "start"), ("ExecStop", "stop"), ("ExecStartPre", "start_pre")):
        wanted[key] = [
            list(words) if "@" in prefixes else [program, *words] for program, words, prefixes in plan.commands[each]
        ]
    return wanted


_PLAIN = ("Description", "SyslogIdentifier", "User", "Group")


def _got(unit: dict[str, Any], service: dict[str, Any]) -> dict[str, object]:
    got: dict[str, object] = {key: unit.get(key, service.get(key)) for key in _PLAIN}
    got["Environment"] = set(service["Environment"])
    for key in ("ExecStart", "ExecStop", "ExecStartPre"):
        got[key] = [list(command[1]) for command in service[key]]
    return got
