"""The engine's findings in Rube's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from rube.api.types.violation import Violation

if TYPE_CHECKING:
    from protovalidate import Violation as Found

_SHOWN_CHARS_MAX: Final = 60


def violation(message: Descriptor, found: Found) -> Violation:
    proto = found.proto
    steps, field = [], None
    inside: Descriptor | None = message
    for element in proto.field.elements if proto.field is not None else ():
        field = inside.fields_by_number.get(element.field_number) if inside is not None else None
        inside = _entered(field)
        key = element.subscript
        steps.append(element.field_name + (f"[{key.value!r}]" if key is not None else ""))
        if key is None and field is not None and field.is_repeated:
            inside = None
    if _is_cel(proto):
        steps += _about(proto.rule_id, inside)
    return Violation(".".join(steps), _text(proto, found, field), proto.rule_id)


def _is_cel(proto: Any) -> bool:
    """Returns whether the rule is one in CEL, of a field or (these have no path) of a message."""
    if proto.rule is None:
        return proto.rule_id not in ("required", "message.oneof")
    return any(element.field_name in ("cel", "cel_expression") for element in proto.rule.elements)


def _about(rule: str, inside: Descriptor | None) -> Iterator[str]:
    """Yields the fields that the id of a message's rule begins with: `exec.start.missing` is about exec.start."""
    for name in rule.split(".")[:-1]:
        field = inside.fields_by_name.get(name) if inside is not None else None
        if field is None:
            return
        yield name
        inside = None if field.is_repeated else field.message_type


def _text(proto: Any, found: Found, field: FieldDescriptor | None) -> str:
    said = proto.message or "is not allowed"
    value = found.field_value
    if proto.rule_id == "enum.defined_only" and field is not None and field.enum_type is not None:
        known = ", ".join(each.name for each in field.enum_type.values if each.number)
        return f"{value} is no known value: use one of {known}"
    if (
        _is_cel(proto)
        or proto.rule is None
        or proto.rule_id == "required"
        or isinstance(value, bool)
        or not isinstance(value, int | float | str)
    ):
        return said
    shown = (
        repr(value)
        if not isinstance(value, str) or len(value) <= _SHOWN_CHARS_MAX
        else f"{value[:_SHOWN_CHARS_MAX]!r}…"
    )
    return f"{shown} {said}"


def _entered(field: FieldDescriptor | None) -> Descriptor | None:
    """Returns the message that a path goes on in after a field, or after a key of a map."""
    if field is None or field.message_type is None or not field.message_type.GetOptions().map_entry:
        return field.message_type if field is not None else None
    value = field.message_type.fields_by_name["value"]
    return value.message_type


def order(path: Any) -> list[tuple[int, bool, str]]:
    """Returns what sorts violations by their fields: maps have no order of their own."""
    return [
        (element.field_number, isinstance(key, str), f"{key:020}" if isinstance(key, int) else str(key))
        for element in (path.elements if path is not None else ())
        for key in (element.subscript.value if element.subscript is not None else 0,)
    ]
