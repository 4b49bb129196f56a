"""YAML to a protobuf message, by the message's own descriptor, with every error as file:line.

Keys are field names (or a field's json_name where the proto sets one, such as `for`). A Duration is written `30s`,
`1m30s` or `500ms`; an enum by its value's name in lower case; a message without content by the bare name of its field.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import yaml
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from rube.api.errors import InvalidArgumentError
from rube.api.spelling import suggestion
from rube.api.textproto.invisible import invisible_hint

DEPTH_MAX = 32
"""The deepest nesting of keys and lists; a scenario has eight."""
SHOWN_CHARS_MAX = 100
"""The most characters of a wrong word in an error."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
M = TypeVar("M", bound=Message)
Path = tuple[str | int, ...]

_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d+)?(?:ns|us|ms|s|m|h))+)\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_UNIT_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_INTEGERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
    }
)
_UNSIGNED = frozenset({FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64})
_BITS_32 = frozenset({FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_UINT32})


class ScenarioError(InvalidArgumentError):
    """The mistakes of a scenario file: one line `file:line: what, where, what to do` for each."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = list(lines)


@dataclass(slots=True)
class Source:
    """The place of each part of a message in its file, and the mistakes found."""

    file: str
    positions: dict[Path, int] = field(default_factory=dict)
    errors: list[tuple[int, str]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a part, or of the nearest part around it."""
        while path and path not in self.positions:
            path = path[:-1]
        return self.positions.get(path, 1)

    def error(self, path: Path, text: str, line: int | None = None, hint: str = "") -> None:
        """Notes a mistake; `hint` says what to do about it."""
        where = f" in {show(path)}" if path else ""
        self.errors.append((line or self.line(path), f"{text}{where}{hint}"))

    def raise_errors(self) -> None:
        """Raises ScenarioError if anything was found wrong, in the order of the lines."""
        if self.errors:
            raise ScenarioError([f"{self.file}:{line}: {text}" for line, text in sorted(self.errors)])


def show(path: Path) -> str:
    """A path as people write it: `faults[2].at`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggest(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?`, or the choices; empty without any."""
    return f"; {suggestion(word, known)}" if known else ""


def parse_duration(text: str) -> int:
    """Nanoseconds of `30s`, `1m30s`, `500ms`, `-5s`. Raises ValueError with what to write instead."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a number and a unit (ns, us, ms, s, m, h), such as 30s")
    total = sum(round(float(number) * _UNIT_NS[unit]) for number, unit in _DURATION_PART.findall(match[2]))
    return -total if match[1] else total


def yaml_key(descriptor: FieldDescriptor) -> str:
    """The key a field is written with."""
    camel = re.sub(r"_([a-z])", lambda match: match[1].upper(), descriptor.name)
    return descriptor.name if descriptor.json_name == camel else descriptor.json_name


def parse(text: str, file: str, cls: type[M]) -> tuple[M, Source]:
    """The message that a YAML text describes. Raises ScenarioError with every mistake found."""
    source = Source(file)
    root = compose(text, file)
    message = cls()
    if root is None:
        raise ScenarioError([f"{file}:1: the file is empty: begin with `name:` and `duration:`"])
    _fill(message, root, (), source)
    source.raise_errors()
    return message, source


def compose(text: str, file: str) -> yaml.Node | None:
    """Returns the tree of a YAML text. Raises ScenarioError for text that is no YAML, is nested too deeply, or has
    aliases."""
    try:
        _check_events(yaml.parse(text, Loader=_LOADER), file)
        return yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScenarioError([f"{file}:{line}: not YAML: {error.problem}{invisible_hint(text)}"]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([f"{file}:1: not YAML: {' '.join(str(error).split())}"]) from error


def _check_events(events: Iterator[yaml.Event], file: str) -> None:
    """The parser of YAML recurses nowhere, its composer does at each level: so the depth is looked at before."""
    depth = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise ScenarioError([f"{file}:{line}: an alias (*{event.anchor}): write it out"])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise ScenarioError([f"{file}:{line}: nested more than {DEPTH_MAX} deep: no scenario is"])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def field_of(message: Message, key: str, what: str, path: Path) -> FieldDescriptor:
    """The field that a file writes with that key. Raises InvalidArgumentError that begins with `what`."""
    known = {yaml_key(item): item for item in _fields(message)}
    if key not in known:
        where = f" in {show(path)}" if path else ""
        raise InvalidArgumentError(f'{what}: unknown key "{key}"{where}{suggest(key, sorted(known))}')
    return known[key]


def set_field(message: Message, item: FieldDescriptor, node: yaml.Node | None, path: Path, source: Source) -> None:
    """Sets a field to a node's value; `source` notes the mistakes."""
    if node is None:
        source.error(path, f"no value: expected {_expected(item) if item.message_type is None else 'keys'}")
    else:
        _set(message, item, node, path, source)


def _fill(message: Message, node: yaml.Node, path: Path, source: Source) -> None:
    known = {yaml_key(item): item for item in _fields(message)}
    if isinstance(node, yaml.ScalarNode) and node.value in known and known[node.value].message_type is not None:
        getattr(message, known[node.value].name).SetInParent()  # a bare name
        source.positions[(*path, node.value)] = node.start_mark.line + 1
        return
    if not isinstance(node, yaml.MappingNode):
        if not (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")):
            hint = suggest(node.value, sorted(known)) if isinstance(node, yaml.ScalarNode) else ""
            source.error(path, f"expected keys, not {_what(node)}", _line(node), hint or f": {', '.join(known)}")
        return
    seen: set[str] = set()
    for key_node, value in node.value:
        key, line = str(key_node.value), _line(key_node)
        if key not in known:
            source.error(path, f"unknown key {_shown(key)}", line, suggest(key[:SHOWN_CHARS_MAX], sorted(known)))
        elif key in seen:
            source.error(path, f'key "{key}" appears twice', line)
        else:
            seen.add(key)
            source.positions[(*path, key)] = line
            _check_oneof(message, known[key], path, source, line)
            _set(message, known[key], value, (*path, key), source)


def _fields(message: Message) -> list[FieldDescriptor]:
    return cast(list[FieldDescriptor], list(message.DESCRIPTOR.fields))


def _check_oneof(message: Message, item: FieldDescriptor, path: Path, source: Source, line: int) -> None:
    oneof = item.containing_oneof
    if oneof is None or len(oneof.fields) == 1:
        return
    other = message.WhichOneof(oneof.name)
    if other is not None:
        source.error(path, f'"{yaml_key(item)}" and "{other}" exclude each other', line)


def _set(message: Message, item: FieldDescriptor, node: yaml.Node, path: Path, source: Source) -> None:
    if not item.is_repeated:
        _set_one(message, item, node, path, source)
        return
    if not isinstance(node, yaml.SequenceNode):
        source.error(path, f"expected a list, not {_what(node)}", _line(node))
        return
    values = getattr(message, item.name)
    for index, child in enumerate(node.value):
        child_path = (*path, index)
        source.positions[child_path] = _line(child)
        if item.message_type is not None:
            _fill(values.add(), child, child_path, source)
        else:
            value = _scalar(item, child, child_path, source)
            if value is not None:
                values.append(value)


def _set_one(message: Message, item: FieldDescriptor, node: yaml.Node, path: Path, source: Source) -> None:
    if item.message_type is None:
        value = _scalar(item, node, path, source)
        if value is not None:
            setattr(message, item.name, value)
        return
    target = getattr(message, item.name)
    target.SetInParent()
    if not isinstance(target, Duration):
        _fill(target, node, path, source)
    elif not isinstance(node, yaml.ScalarNode):
        source.error(path, f"expected a duration such as 30s, not {_what(node)}", _line(node))
    else:
        try:
            target.FromNanoseconds(parse_duration(node.value))
        except ValueError as error:
            source.error(path, str(error), _line(node))


def _scalar(item: FieldDescriptor, node: yaml.Node, path: Path, source: Source) -> str | int | float | bool | None:
    line = _line(node)
    if not isinstance(node, yaml.ScalarNode):
        source.error(path, f"expected {_expected(item)}, not {_what(node)}", line)
        return None
    text: str = node.value
    try:
        if item.enum_type is not None:
            return _enum(item.enum_type, text)
        if item.type == FieldDescriptor.TYPE_STRING:
            return text
        if item.type == FieldDescriptor.TYPE_BOOL:
            return {"true": True, "false": False}[text]
        if item.type == FieldDescriptor.TYPE_DOUBLE:
            return float(text)
        return _integer(item, text)
    except (ValueError, KeyError):
        source.error(path, f"expected {_expected(item)}, not {_shown(text)}", line)
        return None


def _integer(item: FieldDescriptor, text: str) -> int:
    assert item.type in _INTEGERS, f"{item.full_name}: the loader does not know this type"
    value = int(text)
    bits = 32 if item.type in _BITS_32 else 64
    lowest, highest = (0, 2**bits) if item.type in _UNSIGNED else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not lowest <= value < highest:
        raise ValueError(text)
    return value


def _enum(enum: EnumDescriptor, text: str) -> int:
    return {value.name.lower(): value.number for value in enum.values if value.number}[text]


def _expected(item: FieldDescriptor) -> str:
    if item.enum_type is not None:
        return "one of " + ", ".join(value.name.lower() for value in item.enum_type.values if value.number)
    if item.type == FieldDescriptor.TYPE_STRING:
        return "a word"
    if item.type == FieldDescriptor.TYPE_BOOL:
        return "true or false"
    if item.type == FieldDescriptor.TYPE_DOUBLE:
        return "a number"
    return "a whole number, not negative" if item.type in _UNSIGNED else "a whole number"


def _what(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "keys"
    return "a list" if isinstance(node, yaml.SequenceNode) else _shown(node.value)


def _shown(text: str) -> str:
    return f'"{text}"' if len(text) <= SHOWN_CHARS_MAX else f'"{text[:SHOWN_CHARS_MAX]}…" ({len(text)} characters)'


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def check_known(what: str, name: str, known: Sequence[str], path: Path, source: Source) -> None:
    if name not in known:
        source.error(path, f'unknown {what} "{name}"' if name else f"no {what}", hint=suggest(name, known[:50]))
