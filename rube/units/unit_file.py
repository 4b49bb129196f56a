"""Unit files read as systemd 252 reads them (config_parse() in src/shared/conf-parser.c). Pure, on bytes.

Rendering is checked with it, so it is strict where systemd only warns: what systemd would ignore is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from rube.units.service.text import decode_text
from rube.units.values import LINE_BYTES_MAX

_BLANKS: Final = b" \t\n\r"
_BLANKS_OF_TEXT: Final = _BLANKS.decode()
_LINE_END: Final = re.compile(rb"\n\r\0?|\r\n\0?|[\n\r]\0|[\n\r\0]")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UNSAFE: Final = re.compile(r"[\x01-\x1f\"'\\\x7f]")


class UnitFileError(ValueError):
    """systemd would refuse the file, or ignore a line of it; the text says which line and why."""


class Directive(NamedTuple):
    """One setting of a unit file: in [section], `key=value`."""

    section: str
    key: str
    value: str


def parse_unit_file(data: bytes) -> list[Directive]:
    """Returns the settings in their order. Raises UnitFileError."""
    section = ""
    found: list[Directive] = []
    for number, line in _logical_lines(data):
        try:
            text = line.decode("ascii") if line.isascii() else decode_text(line)
        except ValueError as error:
            raise UnitFileError(f"line {number}: {error}") from error
        if text.startswith("["):
            if not text.endswith("]") or _UNSAFE.search(text[1:-1]):
                raise UnitFileError(f"line {number}: bad section header {text[:80]!r}")
            section = text[1:-1]
            continue
        key, equals, value = text.partition("=")
        if not section or not equals or not key:
            raise UnitFileError(f"line {number}: {text[:80]!r} is no assignment in a section")
        found.append(Directive(section, key.strip(_BLANKS_OF_TEXT), value.strip(_BLANKS_OF_TEXT)))
    return found


def _logical_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields lines without comments and empty ones, joined where one ends in a backslash that no backslash precedes."""
    continued: bytes | None = None
    number = 0
    marked = False
    lines = _LINE_END.split(data) if b"\r" in data or b"\0" in data else data.split(b"\n")
    for number, raw in enumerate(lines, start=1):
        if len(raw) > LINE_BYTES_MAX:
            raise UnitFileError(f"line {number}: {len(raw)} bytes, more than {LINE_BYTES_MAX}")
        if continued is None and raw[:1].isalpha() and not raw.endswith(b"\\"):  # most lines
            yield number, raw.rstrip(_BLANKS)
            continue
        if raw.lstrip(_BLANKS)[:1] in (b"#", b";"):
            continue
        if not marked and raw.startswith(_BYTE_ORDER_MARK):
            marked, raw = True, raw.removeprefix(_BYTE_ORDER_MARK)
        line = raw if continued is None else continued + raw
        if len(line) > LINE_BYTES_MAX + 1:
            raise UnitFileError(f"line {number}: {len(line)} bytes with what it continues")
        if (len(line) - len(line.rstrip(b"\\"))) % 2:
            continued = line[:-1] + b" "
            continue
        continued = None
        if stripped := line.strip(_BLANKS):
            yield number, stripped
    if continued is not None and (stripped := continued.strip(_BLANKS)):
        yield number, stripped
