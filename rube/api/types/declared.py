"""The rules that a message and all messages in it declare, found and checked before any object is judged by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from rube.api.errors import InvalidArgumentError
from rube.api.types import options
from rube.api.types.cel import CelError
from rube.api.types.expressions import Weight, weigh
from rube.api.types.shapes import NUMBER, TEXT, Shape, of_field, of_item, of_message

RULES_MAX: Final = 500
"""Expressions and patterns of a type, with those of all messages in it."""
PATTERN_CHARS_MAX: Final = 1_000
_TIMELY: Final = ("lt_now", "gt_now", "within")


class Expression(NamedTuple):
    """A rule in CEL, and the place where it stands."""

    message: str
    """The full name of the message whose rule it is."""

    field: str
    """The field that it is about; empty: the whole message."""

    rule: str
    text: str
    weight: Weight
    each: bool
    """It runs for each item of a list, or each key or value of a map."""


def messages_in(message: Descriptor) -> tuple[Descriptor, ...]:
    """Returns a message and all messages that its fields can hold, each once, in the order of its fields."""
    found: dict[str, Descriptor] = {}
    waiting = [message]
    while waiting:
        each = waiting.pop()
        if each.full_name not in found:
            found[each.full_name] = each
            waiting += [field.message_type for field in reversed(each.fields) if field.message_type is not None]
    return tuple(found.values())


def declared(message: Descriptor) -> bool:
    """Returns whether a message or one in it has a rule, or the message a rule of changes."""
    if (resource := options.resource_of(message)) is not None and resource.transitions:
        return True
    return any(
        options.message_rules(each) is not None
        or any(options.field_rules(field) is not None for field in each.fields)
        or any(options.oneof_rules(oneof) is not None for oneof in each.oneofs)
        for each in messages_in(message)
    )


def expressions_of(message: Descriptor) -> list[Expression]:
    """Returns all rules in CEL of a message and those in it.

    Raises InvalidArgumentError for a rule that cannot be taken: its metadata has `message`, `field` and `rule`.
    """
    found: list[Expression] = []
    patterns = 0
    for each in messages_in(message):
        for field, rule, wrong, text, shape, many in _of_message(each):
            if wrong:
                raise refusal(each, field, rule, wrong)
            if shape is None:
                patterns += 1
                continue
            variables = {"this": shape}
            found.append(_expression(each, field, rule, text, variables, many))
    _check_ids(found)
    if len(found) + patterns > RULES_MAX:
        raise InvalidArgumentError(
            f"{message.full_name} has {len(found) + patterns} rules in CEL and patterns, more than {RULES_MAX}",
            message=message.full_name,
        )
    return found


def transitions_of(message: Descriptor) -> list[Expression]:
    """Returns the rules of changes of a type's spec. Raises InvalidArgumentError as `expressions_of` does."""
    resource = options.resource_of(message)
    if resource is None:
        return []
    variables = {"old": of_message(message), "new": of_message(message)}
    found = [
        _expression(message, "", each.id, each.expression, variables, False)
        for each in resource.transitions[:RULES_MAX]
    ]
    _check_ids(found)
    return found


def refusal(message: Descriptor, field: str, rule: str, text: str) -> InvalidArgumentError:
    """Returns the error about a rule that a type cannot have."""
    place = f"{message.full_name}.{field}" if field else message.full_name
    which = f"the rule {rule} " if rule else ""
    return InvalidArgumentError(f"{place}: {which}{text}", message=message.full_name, field=field, rule=rule)


def _expression(
    message: Descriptor, field: str, rule: str, text: str, variables: dict[str, Shape], each: bool
) -> Expression:
    try:
        return Expression(message.full_name, field, rule, text, weigh(text, variables), each)
    except CelError as error:
        raise refusal(message, field, rule, str(error)) from error


def _check_ids(found: list[Expression]) -> None:
    known: set[tuple[str, str, str]] = set()
    for each in found:
        if not each.rule or (each.message, each.field, each.rule) in known:
            what = "is there twice: give each an id of its own" if each.rule else "has no id: set one"
            place = f"{each.message}.{each.field}".rstrip(".")
            raise InvalidArgumentError(
                f"{place}: the rule {each.rule or repr(each.text[:80])} {what}",
                message=each.message,
                field=each.field,
                rule=each.rule,
            )
        known.add((each.message, each.field, each.rule))


# The field, the rule's id, what is wrong with it (or nothing), its text, the shape of `this` (None: a pattern), and
# whether it runs for each item.
_Found = tuple[str, str, str, str, Shape | None, bool]


def _of_message(message: Descriptor) -> Iterator[_Found]:
    if (rules := options.message_rules(message)) is not None:
        yield from _unknown("", rules)
        yield from _in_cel("", rules, of_message(message), False)
    for field in message.fields:
        if (rules := options.field_rules(field)) is not None:
            yield from _unknown(field.name, rules)
            yield from _of_field(field, rules, of_field(field), False)


def _of_field(field: FieldDescriptor, rules: Any, shape: Shape, each: bool) -> Iterator[_Found]:
    yield from _in_cel(field.name, rules, shape, each)
    kind = rules.WhichOneof("type")
    if kind is None:
        return
    typed = getattr(rules, kind)
    if kind in ("string", "bytes") and typed.HasField("pattern"):
        size = len(typed.pattern)
        wrong = f"has {size} characters, more than {PATTERN_CHARS_MAX}" if size > PATTERN_CHARS_MAX else ""
        yield field.name, f"{kind}.pattern", wrong, typed.pattern, None, each
    if kind == "timestamp":
        for name in _TIMELY:
            if typed.HasField(name):
                yield (
                    field.name,
                    f"{kind}.{name}",
                    "depends on the time: a spec is right at any time alike",
                    "",
                    None,
                    each,
                )
    if kind == "repeated" and typed.HasField("items"):
        yield from _of_field(field, typed.items, of_item(field), True)
    if kind == "map":
        if typed.HasField("keys"):
            key = field.message_type.fields_by_name["key"] if field.message_type is not None else None
            yield from _of_field(field, typed.keys, of_item(key) if key is not None else TEXT, True)
        if typed.HasField("values"):
            yield from _of_field(field, typed.values, shape.item or NUMBER, True)


def _in_cel(field: str, rules: Any, shape: Shape, each: bool) -> Iterator[_Found]:
    for rule in rules.cel:
        yield field, rule.id, "", rule.expression, shape, each
    for text in rules.cel_expression:
        yield field, text, "", text, shape, each


def _unknown(field: str, rules: Message) -> Iterator[_Found]:
    """Yields an error if the rules have a field that Rube does not know: a newer one, or a predefined one."""
    if len(UnknownFieldSet(rules)):
        number = next(iter(UnknownFieldSet(rules))).field_number
        wrong = f"is not known here: write it as a rule of its own ((buf.validate.field).cel); it has number {number}"
        yield field, rules.DESCRIPTOR.name, wrong, "", None, False
    for described, value in rules.ListFields():
        if described.message_type is not None and not described.is_repeated:
            yield from _unknown(field, value)
