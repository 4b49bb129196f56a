"""Names of units, users, buses, slices and conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rube.api import Service, Unit
from rube.api.types.violation import Violation
from rube.units.checks.paths import path_problem
from rube.units.checks.texts import ITEMS_MAX
from rube.units.service.signals import signal_number

NAME_BYTES_MAX = 255
"""The longest name of a unit, and of a bus."""
_TYPES: Final = "service|socket|device|mount|automount|swap|target|path|timer|slice|scope"
_UNIT: Final = re.compile(rf"[A-Za-z0-9:_.\\%-][A-Za-z0-9:_.\\@%-]*\.({_TYPES})\Z")
_BUS: Final = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+\Z")
_UNIT_LISTS: Final = frozenset(
    {
        "wants",
        "requires",
        "requisite",
        "binds_to",
        "part_of",
        "conflicts",
        "before",
        "after",
        "on_failure",
    }
)
_NUMBER: Final = re.compile(r"[0-9]+\Z")
_NEGATIVE: Final = re.compile(r"-[0-9]*\Z")
_UID_MAX: Final = 2**32 - 2
_UIDS_RESERVED: Final = (65535,)
_PATH_CONDITIONS: Final = frozenset(
    [
        "PathExists",
        "PathExistsGlob",
        "PathIsDirectory",
        "PathIsSymbolicLink",
        "PathIsMountPoint",
        "PathIsReadWrite",
        "PathIsEncrypted",
        "PathIsSocket",
        "DirectoryNotEmpty",
        "FileNotEmpty",
        "FileIsExecutable",
        "NeedsUpdate",
    ]
)
_CONDITIONS: Final = _PATH_CONDITIONS | frozenset(
    [
        "FirstBoot",
        "Architecture",
        "Firmware",
        "Virtualization",
        "Host",
        "KernelCommandLine",
        "KernelVersion",
        "KernelModuleLoaded",
        "Version",
        "Credential",
        "Security",
        "Capability",
        "ACPower",
        "Memory",
        "CPUFeature",
        "CPUs",
        "Environment",
        "User",
        "Group",
        "ControlGroupController",
        "OSRelease",
        "MemoryPressure",
        "CPUPressure",
        "IOPressure",
    ]
)


def name_violations(unit: Unit) -> Iterator[Violation]:
    for field, value in unit.ListFields():
        if field.name in _UNIT_LISTS:
            yield from _units(field.name, value[:ITEMS_MAX])
    for field, value in unit.install.ListFields():
        yield from _units(f"install.{field.name}", value[:ITEMS_MAX])
    for index, name in enumerate(unit.install.alias[:ITEMS_MAX]):
        if not name.strip().endswith(".service"):
            yield Violation(f"install.alias[{index}]", f"{name!r} does not end in .service, as the unit does")
    yield from _conditions(unit)
    yield from _of_service(unit.service)


def _units(field: str, names: list[str]) -> Iterator[Violation]:
    for index, name in enumerate(names):
        stripped = name.strip(" \t")
        if not _UNIT.match(stripped) or len(stripped) > NAME_BYTES_MAX:
            text = f"{name[:80]!r} is no unit's name: end it in .service, .target or another unit type"
            yield Violation(f"{field}[{index}]", text)
        elif stripped.rpartition(".")[0].endswith("@"):
            yield Violation(f"{field}[{index}]", f"{name!r} is a template: name an instance, such as x@a.service")


def _conditions(unit: Unit) -> Iterator[Violation]:
    for index, condition in enumerate(unit.condition[:ITEMS_MAX]):
        field = f"condition[{index}]"
        if condition.type not in _CONDITIONS:
            known = ", ".join(sorted(_CONDITIONS))
            yield Violation(
                f"{field}.type", f"{condition.type[:80]!r} is not a condition of systemd.unit(5): use one of {known}"
            )
            continue
        value = condition.value.strip(" \t").removeprefix("|").removeprefix("!").strip(" \t")
        if not value:
            yield Violation(f"{field}.value", "is empty, which would reset the list: write a value")
        elif condition.type in _PATH_CONDITIONS and (problem := path_problem(value)):
            yield Violation(f"{field}.value", problem)


def _of_service(service: Service) -> Iterator[Violation]:
    for field in ("user", "group"):
        name = getattr(service, field).strip(" \t")
        if name and (problem := _user_problem(name)):
            yield Violation(f"service.{field}", problem)
    bus = service.bus_name.strip(" \t")
    if bus and "%" not in bus and not (_BUS.match(bus) and len(bus) <= NAME_BYTES_MAX):
        yield Violation("service.bus_name", f"{bus[:80]!r} is no bus name such as org.example.Name")
    slice_name = service.slice.strip(" \t")
    if slice_name and not (_UNIT.match(slice_name) and slice_name.endswith(".slice")):
        yield Violation("service.slice", f"{slice_name[:80]!r} is no slice's name: end it in .slice")
    yield from _signal("service.kill.signal", service.kill.signal)
    for name in ("success_signal", "prevent_restart_signal", "force_restart_signal"):
        for index, each in enumerate(getattr(service.status, name)[:ITEMS_MAX]):
            yield from _signal(f"service.status.{name}[{index}]", each)


def _user_problem(name: str) -> str:
    """Implements systemd's valid_user_group_name(), relaxed: numbers, or anything that could be in /etc/passwd."""
    if _NUMBER.match(name):
        fits = len(name) <= 10 and name == str(int(name)) and int(name) <= _UID_MAX and int(name) not in _UIDS_RESERVED
        return "" if fits else f"{name!r} is no user's or group's number"
    if any(letter in ":/\t" for letter in name) or name in (".", "..") or _NEGATIVE.match(name):
        return f"{name[:80]!r} is no user's or group's name"
    return ""


def _signal(field: str, name: str) -> Iterator[Violation]:
    if name.strip(" \t"):
        try:
            signal_number(name)
        except ValueError:
            yield Violation(field, f"{name[:80]!r} is no signal: use a name such as SIGTERM")
