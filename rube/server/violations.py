"""The judgement of specs and statuses: by their types' rules, by checks in code, and for unknown fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import Types
from rube.api.types.rules import load_built_in, rules_of
from rube.api.types.violation import Violation
from rube.api.unknown_fields import unknown_fields
from rube.server.config import SpecCheck
from rube.server.specs import Spec, read_spec
from rube.server.stored_object import StoredObject

load_built_in()
VIOLATIONS_MAX: Final = 10
OBJECTS_MAX: Final = 5
"""So many violations of so many objects are named in one error, which travels in gRPC's headers (8 KiB)."""
# Limits of the violations in the details, which repeat the message for programs.
_TEXT_CHARS_MAX: Final = 100
_DETAILS_MAX: Final = 16


def check_specs(
    changing: Iterable[tuple[int, bytes, StoredObject]],
    current: Mapping[bytes, StoredObject | None],
    types: Types,
    checks: Mapping[str, SpecCheck],
    *,
    keep_unknown: bool = False,
) -> None:
    """Judges each spec that a write would change; an object comes with its place in the request and its key.

    A type with a check in code is judged by it alone, others by their rules. Raises InvalidArgumentError with all
    errors of all objects; its metadata has the first `field`.
    """
    wrong = []
    for index, key, wanted in changing:
        spec = wanted.parsed or read_spec(types, ObjectKey.from_bytes(key).type, wanted.spec_value())
        if found := _of_spec(spec, current[key], checks, keep_unknown=keep_unknown):
            wrong.append((f"objects[{index}]", ObjectKey.from_bytes(key), found))
    if wrong:
        raise _error(wrong)


def check_status(key: ObjectKey, status: Message, previous: Message | None, *, keep_unknown: bool) -> None:
    """Judges a status as `check_specs` does a spec."""
    found = [] if keep_unknown else _unknown(status, lambda: previous)
    found += rules_of(type(status)).violations(status)
    if found:
        shown = "; ".join(map(str, found[:VIOLATIONS_MAX]))
        raise InvalidArgumentError(
            f"{key}: status: {shown}", _details("status", found), field=f"status.{found[0].field}".rstrip(".")
        )


def _of_spec(
    spec: Spec, stored: StoredObject | None, checks: Mapping[str, SpecCheck], *, keep_unknown: bool
) -> Sequence[Violation]:
    message, found = spec.message, list[Violation]()
    if spec.has_unknown and not keep_unknown:
        found += _unknown(message, partial(_parsed_spec, type(message), stored))
    if (check := checks.get(spec.type_name)) is not None:
        found += check(spec.value)
    elif (rules := rules_of(type(message))).any:
        found += rules.violations(message, _parsed_spec(type(message), stored) if rules.of_changes else None)
    return found


def _parsed_spec(spec_class: type[Message], stored: StoredObject | None) -> Message | None:
    return None if stored is None else spec_class.FromString(stored.spec_value())


def _unknown(message: Message, previous: Callable[[], Message | None]) -> list[Violation]:
    """Returns the unknown fields that the previous message did not have: what is stored is not the caller's mistake."""
    found = unknown_fields(message)
    if not found:
        return []
    before = previous()
    stored = unknown_fields(before) if before is not None else []
    return [
        Violation(path, f"has a field of number {number}, which {name} does not have", "unknown-field")
        for path, number, name in found
        if (path, number, name) not in stored
    ]


def _error(wrong: Sequence[tuple[str, ObjectKey, Sequence[Violation]]]) -> InvalidArgumentError:
    sentences = []
    details: list[tuple[str, str, str]] = []
    for place, key, found in wrong[:OBJECTS_MAX]:
        more = f"; and {len(found) - VIOLATIONS_MAX} more" if len(found) > VIOLATIONS_MAX else ""
        sentences.append(f"{place} ({key}): {'; '.join(map(str, found[:VIOLATIONS_MAX]))}{more}")
        details += _details(f"{place}.spec", found)
    more = f"; and {len(wrong) - OBJECTS_MAX} more objects" if len(wrong) > OBJECTS_MAX else ""
    return InvalidArgumentError("; ".join(sentences) + more, details[:_DETAILS_MAX], field=details[0][0])


def _details(place: str, found: Sequence[Violation]) -> list[tuple[str, str, str]]:
    return [
        (f"{place}.{each.field}".rstrip("."), each.text[:_TEXT_CHARS_MAX], each.rule[:_TEXT_CHARS_MAX])
        for each in found[:VIOLATIONS_MAX]
    ]
