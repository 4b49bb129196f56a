"""Random units: plausible values, and noise of all that could mean something to a parser of unit files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from rube.api import Unit

_NOISE = [
    *"abzAZ019",
    *"\\\\\\\\\\\"\"'';#=[]{}$%%&|!@:+-_.,/~*?<>()",
    *"   \t",
    "\\\\",
    "%%",
    "%n",
    "\\x41",
    "\\n",
    "é",
    "…",
    "\u2028",
    "\u0085",
    "\ufeff",
    "😀",
    "\377",
]
_RARE = ["\n", "\r", "\0", "\x1b", "\ufffe", "\x7f"]
_PLAUSIBLE: dict[str, Sequence[Any]] = {
    "start": ["/bin/true", "/bin/sleep 1000", "-/bin/echo $A ${B}"],
    "type": [1, 2, 3, 4, 5, 6],
    "user": ["root", "nobody", "65534", "no body"],
    "group": ["root", "1"],
    "working_directory": ["/", "-/tmp", "~", "%t"],
    "root_directory": ["/", "%t"],
    "umask": ["022", "0077", "7777"],
    "standard_output": ["journal", "null", "file:/tmp/x", "append:%t/x"],
    "standard_error": ["inherit", "truncate:/tmp/y"],
    "standard_input": ["null", "file:/dev/null"],
    "protect_system": ["full", "strict", "yes"],
    "slice": ["system.slice", "a-b.slice"],
    "signal": ["SIGTERM", "KILL", "15", "RTMIN+3"],
    "success_signal": ["SIGTERM", "9"],
    "prevent_restart_signal": ["HUP"],
    "force_restart_signal": ["SIGUSR1"],
    "environment_file": ["-/nonexistent", "/etc/os-release", "-/etc/*.x"],
    "runtime_directory": ["a", "a/b"],
    "state_directory": ["s"],
    "pid_file": ["/run/x.pid", "x.pid"],
    "bus_name": ["org.example.Name"],
    "doc_url": ["https://example.org/x", "man:ls(1)"],
    "alias": ["other.service"],
    "value": ["/x", "!/x", "|/x", "yes"],
}
_UNIT_LISTS = (
    *("wants", "requires", "requisite", "binds_to", "part_of", "conflicts", "before", "after", "on_failure"),
    *("wanted_by", "required_by", "also"),
)
_CONDITIONS = ["PathExists", "FileNotEmpty", "Host", "User", "ACPower"]


def random_unit(dice: random.Random, *, noise: float = 0.3, rare: float = 0.0) -> Unit:
    """`noise`: how likely a text is noise where there are plausible ones; `rare`: and holds what is always refused."""
    unit = Unit()
    _fill(unit, dice, noise, rare)
    unit.service.exec.start.append("/bin/true") if not unit.service.exec.start else None
    return unit


def _fill(message: Message, dice: random.Random, noise: float, rare: float) -> None:
    fields: Sequence[Any] = message.DESCRIPTOR.fields
    for field in fields:
        if field.full_name.startswith("api.systemd.Unit.") and field.number > 31:
            continue  # placement's
        if dice.random() > 0.3:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for name in dice.sample(["A", "B", "C_1", "_d"], dice.randrange(1, 4)):
                getattr(message, field.name)[name] = _noise(dice, rare)
        elif field.message_type is not None and field.is_repeated:
            _fill(getattr(message, field.name).add(type=dice.choice(_CONDITIONS)), dice, noise, rare)
        elif field.message_type is not None:
            _fill(getattr(message, field.name), dice, noise, rare)
        elif field.is_repeated:
            getattr(message, field.name).extend(
                _value(field, dice, noise, rare) for _ in range(dice.randrange(1, 3) if field.name != "start" else 1)
            )
        elif field.full_name != "api.systemd.Condition.type":
            setattr(message, field.name, _value(field, dice, noise, rare))


def _value(field: FieldDescriptor, dice: random.Random, noise: float, rare: float) -> object:
    if field.type == FieldDescriptor.TYPE_BOOL:
        return dice.random() < 0.5
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return dice.choice([0.0, 0.1, 1.5, 1e-6, 3600.0, float("inf"), 123456.789])
    if field.type == FieldDescriptor.TYPE_ENUM:
        return dice.choice(_PLAUSIBLE.get(field.name) or [each.number for each in field.enum_type.values])
    if field.type != FieldDescriptor.TYPE_STRING:
        return dice.choice([0, 1, 2, 19] if field.name == "nice" else [1, 2, 66, 255])
    if field.name in _UNIT_LISTS:
        return dice.choice(["a.service", "b-c.target", "x@i.service", "%p-y.service"])
    if field.name in _PLAUSIBLE and dice.random() > noise:
        return dice.choice(_PLAUSIBLE[field.name])
    if field.full_name.startswith("api.systemd.Service.Exec."):
        return f"/bin/echo {_noise(dice, rare)}"
    return _noise(dice, rare)


def _noise(dice: random.Random, rare: float) -> str:
    pieces = dice.choices(_NOISE, k=dice.randrange(1, 14))
    if dice.random() < rare:
        pieces.insert(dice.randrange(len(pieces) + 1), dice.choice(_RARE))
    return "".join(pieces)
