"""Numbers, times, limits and enums of a Unit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message

from rube.api import Service, Unit
from rube.api.types.violation import Violation
from rube.units.values import SECONDS_MAX

NICE_MIN, NICE_MAX = -20, 19
CPU_PERCENT_MAX = 21_474_836
"""The most that systemd can count (CPUQuota=)."""
UMASK_MAX: Final = 0o7777


def number_violations(unit: Unit) -> Iterator[Violation]:
    service = unit.service
    yield from _enums("", unit)
    for field, value in _times(unit):
        if math.isnan(value) or value < 0 or SECONDS_MAX < value < math.inf:
            yield Violation(field, f"{value!r} is not a time of 0 to {SECONDS_MAX:.0f} seconds, or infinite")
    if unit.node_lost.HasField("move_after") and not 0 < unit.node_lost.move_after < math.inf:
        yield Violation("node_lost.move_after", f"{unit.node_lost.move_after:g} is no number of seconds greater than 0")
    for name in ("success", "prevent_restart", "force_restart"):
        for index, code in enumerate(getattr(service.status, name)):
            if not 0 <= code <= 255:
                yield Violation(f"service.status.{name}[{index}]", f"{code} is no exit status: use 0 to 255")
    if service.HasField("nice") and not NICE_MIN <= service.nice <= NICE_MAX:
        yield Violation("service.nice", f"{service.nice} is not in {NICE_MIN} to {NICE_MAX}")
    if service.umask and not _is_mode(service.umask):
        yield Violation("service.umask", f"{service.umask!r} is no octal mode such as 0022")
    yield from _limits(service.limits)


def _times(unit: Unit) -> Iterator[tuple[str, float]]:
    for field, value in unit.service.time.ListFields():
        yield f"service.time.{field.name}", float(value)
    if unit.start_limit.HasField("interval"):
        yield "start_limit.interval", unit.start_limit.interval


def _limits(limits: Service.Limits) -> Iterator[Violation]:
    for name in ("memory_bytes", "tasks", "cpu_percent"):
        if limits.HasField(name) and not getattr(limits, name):
            yield Violation(f"service.limits.{name}", "is 0, with which nothing can run: use 1 or more")
    if limits.cpu_percent > CPU_PERCENT_MAX:
        yield Violation("service.limits.cpu_percent", f"{limits.cpu_percent} is more than {CPU_PERCENT_MAX}")


def _enums(path: str, message: Message) -> Iterator[Violation]:
    """Yields numbers that are no value of their enum: a newer client's, or a mistake."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        enum: EnumDescriptor | None = field.enum_type
        if enum is not None and isinstance(value, int) and value not in enum.values_by_number:
            known = ", ".join(each.name for each in enum.values if each.number)
            yield Violation(name, f"{value} is no known value: use one of {known}")
        elif isinstance(value, Message):
            yield from _enums(name, value)


def _is_mode(text: str) -> bool:
    return set(text) <= set("01234567") and int(text, 8) <= UMASK_MAX
