"""Files of objects: documents under `# proto-file:` and `# proto-message:` header lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rube.api import List, Object
from rube.api.errors import InvalidArgumentError
from rube.api.keys import key_of
from rube.api.spelling import suggestion
from rube.api.textproto.lexer import Position
from rube.api.textproto.reader import read
from rube.api.types import BUILTIN, Types

_HEADER: Final = re.compile(r"\s*#\s*proto-(file|message):\s*(\S*)\s*$")
TEXT_CHARS_MAX: Final = 256 * 1024 * 1024
"""A file takes up to ten times its size in memory while it is read."""
_PROTO_FILE: Final = "rube/api.proto"
_MESSAGES: Final = {
    "Object": Object,
    "api.Object": Object,
    "List": List,
    "api.List": List,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Objects that belong together: a put writes all of them at one revision, or none."""

    objects: tuple[Object, ...]
    filename: str
    line: int


def parse_documents(text: str, filename: str, types: Types = BUILTIN) -> list[Document]:
    """Parses the documents of a file.

    A document is one `Object`, or after `# proto-message: List` a list of them. Several may follow each other, each
    under its own header. Every object must have a spec of a known type and a valid key. Raises InvalidArgumentError,
    whose text begins `filename:line:column: `, also for a file without any object.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise Position(filename, 1, 1).error(
            f"the text has {len(text)} characters, more than {TEXT_CHARS_MAX}: split it into several files"
        )
    lines = text.removeprefix("\ufeff").split("\n")
    documents = [_document(part, filename, types) for part in _parts(lines) if not part.empty]
    if not documents:
        raise Position(filename, 1, 1).error("there is no object in it; write metadata { … } spec { … }")
    return documents


@dataclass(slots=True)
class _Part:
    """The lines of one document; `first` counts from 1."""

    first: int
    lines: list[str]

    @property
    def empty(self) -> bool:
        return all(not line.strip() or line.lstrip().startswith("#") for line in self.lines)


def _parts(lines: Sequence[str]) -> Iterator[_Part]:
    """Splits at each header line that follows content."""
    part = _Part(1, [])
    for number, line in enumerate(lines, start=1):
        if _HEADER.match(line) and not part.empty:
            yield part
            part = _Part(number, [])
        part.lines.append(line)
    yield part


def _document(part: _Part, filename: str, types: Types) -> Document:
    message_class: type[Object] | type[List] = _message_class(part, filename)
    if message_class is Object:
        single, positions = _read_object(part, filename, types)
        _check(single, "", positions, Position(filename, part.first, 1), types)
        return Document(objects=(single,), filename=filename, line=part.first)
    group, positions = read(part.lines, List, filename=filename, first_line=part.first, types=types)
    for index, item in enumerate(group.items):
        _check(item, f"items[{index}].", positions, positions[f"items[{index}]"], types)
    if not group.items:
        raise Position(filename, part.first, 1).error("the List is empty; add items { … }")
    return Document(objects=tuple(group.items), filename=filename, line=part.first)


def _read_object(part: _Part, filename: str, types: Types) -> tuple[Object, dict[str, Position]]:
    try:
        return read(part.lines, Object, filename=filename, first_line=part.first, types=types)
    except InvalidArgumentError as error:
        if error.metadata.get("field") != "items":
            raise
        hint = f"{error.message}; for a List write '# proto-message: List' above it"
        raise InvalidArgumentError(hint, **error.metadata) from None


def _message_class(part: _Part, filename: str) -> type[Object] | type[List]:
    found: type[Object] | type[List] = Object
    for number, line in enumerate(part.lines, start=part.first):
        header = _HEADER.match(line)
        if header is None:
            continue
        position = Position(filename, number, header.start(2) + 1)
        if header[1] == "file" and header[2] != _PROTO_FILE:
            raise position.error(f"unknown proto-file {header[2]!r}; did you mean {_PROTO_FILE!r}?")
        if header[1] == "message" and header[2] not in _MESSAGES:
            raise position.error(f"unknown proto-message {header[2]!r}; {suggestion(header[2], ('Object', 'List'))}")
        if header[1] == "message":
            found = _MESSAGES[header[2]]
    return found


def _check(obj: Object, path: str, positions: dict[str, Position], start: Position, types: Types) -> None:
    """Raises an error with its place: the wrong field itself if it is written, otherwise the message that lacks it."""
    if not obj.spec.type_url:
        place = positions.get(f"{path}spec", start)
        raise place.error("the object has no spec; add spec { [rube/api.systemd.Unit] { … } }", field="spec")
    try:
        types.kind(key_of(obj).type)
    except InvalidArgumentError as error:
        raise positions.get(f"{path}spec", start).error(error.message, field="spec") from None
    try:
        types.validate_object_key(key_of(obj))
    except InvalidArgumentError as error:
        field = error.metadata.get("field", "")
        place = positions.get(f"{path}{field}") or positions.get(f"{path}metadata") or start
        raise place.error(error.message, field=field) from None
