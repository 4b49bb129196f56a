"""The rules of fields and messages in words, for people who look one up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

from rube.api.types.options import extension, options_class

_WORDS: Final = {
    "const": "always {}",
    "defined_only": "a value that its enum has",
    "finite": "finite",
    "gt": "more than {}",
    "gte": "at least {}",
    "in": "one of {}",
    "len": "{} characters",
    "len_bytes": "{} bytes",
    "lt": "less than {}",
    "lte": "at most {}",
    "max_bytes": "at most {} bytes",
    "max_items": "at most {} items",
    "max_len": "at most {} characters",
    "max_pairs": "at most {} entries",
    "min_bytes": "at least {} bytes",
    "min_items": "at least {} items",
    "min_len": "at least {} characters",
    "min_pairs": "at least {} entries",
    "not_in": "none of {}",
    "pattern": "matches {}",
    "unique": "no item twice",
}
_NESTED: Final = {"items": "each item", "keys": "each key", "values": "each value"}


def rule_words(field: FieldDescriptorProto) -> tuple[str, ...]:
    """Returns the rules that a field declares, such as `at least -20` and `at most 19`."""
    rules = _declared(field, "FieldOptions", "field")
    return tuple(_of(rules)) if rules is not None else ()


def message_rules(message: DescriptorProto) -> tuple[tuple[str, str], ...]:
    """Returns the rules of a message in CEL, each by its id: its words, or its expression where it has none."""
    rules = _declared(message, "MessageOptions", "message")
    return tuple((rule.id, rule.message or rule.expression) for rule in rules.cel) if rules is not None else ()


def _declared(described: FieldDescriptorProto | DescriptorProto, kind: str, name: str) -> Any:
    """Returns the rules in the options of a field or a message; None: it has none."""
    if not described.HasField("options"):
        return None
    options: Any = options_class(kind).FromString(described.options.SerializeToString())
    return options.Extensions[extension(name)] if options.HasExtension(extension(name)) else None


def _of(rules: Any) -> Iterator[str]:
    if rules.required:
        yield "required"
    if (kind := rules.WhichOneof("type")) is not None:
        yield from _of_kind(getattr(rules, kind))
    for rule in rules.cel:
        yield rule.message or rule.expression
    yield from rules.cel_expression


def _of_kind(typed: Any) -> Iterator[str]:
    for described, value in sorted(typed.ListFields(), key=lambda each: not each[0].name.startswith(("g", "min"))):
        if described.name in _NESTED:
            yield from (f"{_NESTED[described.name]} {words}" for words in _of(value))
        elif described.name in _WORDS and value is not False:
            shown = ", ".join(map(_shown, value)) if described.is_repeated else _shown(value)
            yield _WORDS[described.name].format(shown)
        elif value is not False:
            yield described.name.replace("_", " ") + ("" if value is True else f" {_shown(value)}")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
