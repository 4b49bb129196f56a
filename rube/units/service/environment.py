"""Environment files (`environment_file`, systemd.exec(5), EnvironmentFile=), parsed as systemd 252 parses them. Pure.

A state machine over bytes with the states of systemd's own (src/basic/env-file.c), where `A="x` goes on over the end of
the line, quotes have an effect at the beginning of a value or after other quotes only, and a comment that ends in a
backslash takes the next line with it (not since systemd 254). No variable is replaced, and `export` is no keyword.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, NamedTuple

from rube.units.service.text import decode_text

FILE_BYTES_MAX = 4 * 1024 * 1024
IGNORED_MAX = 100
"""So many ignored assignments are named."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_BLANKS: Final = b" \t\n\r"
_LINE_ENDS: Final = b"\n\r"
_COMMENTS: Final = b"#;"
_ESCAPED_IN_QUOTES: Final = b'"\\`$'


class EnvironmentFileError(ValueError):
    """The whole file is refused, as systemd refuses it; the text says where and why."""


class EnvironmentFile(NamedTuple):
    """The variables of a file, and the names of assignments that were ignored because they are no variable's name."""

    variables: dict[str, str]
    ignored: tuple[str, ...]


class _State(Enum):
    PRE_KEY = 0
    KEY = 1
    PRE_VALUE = 2
    VALUE = 3
    VALUE_ESCAPE = 4
    SINGLE_QUOTE = 5
    DOUBLE_QUOTE = 6
    DOUBLE_QUOTE_ESCAPE = 7
    COMMENT = 8
    COMMENT_ESCAPE = 9


def parse_environment_file(data: bytes) -> EnvironmentFile:
    """The variables in the file's order; a later assignment of the same name wins.

    Raises EnvironmentFileError for a NUL, for text that is no UTF-8, and past FILE_BYTES_MAX.
    """
    if len(data) > FILE_BYTES_MAX:
        raise EnvironmentFileError(f"it has {len(data)} bytes, more than {FILE_BYTES_MAX}")
    if b"\0" in data:
        raise EnvironmentFileError(f"it holds a NUL at byte {data.index(0)}: environment files are text")
    parser = _Parser()
    at = 0
    while at < len(data):
        run = _RUNS[parser.state].match(data, at) if parser.state in _RUNS else None
        if run is not None:
            parser.take(run.group())
            at = run.end()
        else:
            _STEPS[parser.state](parser, data[at])
            at += 1
    if parser.state not in (_State.PRE_KEY, _State.KEY, _State.COMMENT, _State.COMMENT_ESCAPE):
        parser.push(strip=parser.state is _State.VALUE)
    return EnvironmentFile(parser.variables, tuple(parser.ignored))


class _Parser:
    """Invariant: `key_end` and `value_end` are the lengths without the blanks at the end; -1: there are none."""

    def __init__(self) -> None:
        self.state = _State.PRE_KEY
        self.line = 1
        self.key, self.value = bytearray(), bytearray()
        self.key_end = self.value_end = -1
        self.variables: dict[str, str] = {}
        self.ignored: list[str] = []

    def push(self, *, strip: bool) -> None:
        """Adds the parsed text as an assignment."""
        key = bytes(self.key if self.key_end < 0 else self.key[: self.key_end])
        value = bytes(self.value[: self.value_end] if strip and self.value_end >= 0 else self.value)
        self.key.clear()
        self.value.clear()
        try:
            name = decode_text(key)
            text = decode_text(value)
        except ValueError as error:
            raise EnvironmentFileError(f"line {self.line}: {error}") from error
        if _NAME.match(name):
            self.variables[name] = text
        elif len(self.ignored) < IGNORED_MAX:
            self.ignored.append(name)

    def take(self, run: bytes) -> None:
        """Takes many bytes at once that leave the state as it is: the same as a step for each."""
        if self.state is _State.KEY:
            self.key_end = -1
            self.key += run
        elif self.state is not _State.COMMENT:
            self.value_end = -1
            self.value += run

    def end_line(self) -> None:
        self.state = _State.PRE_KEY
        self.line += 1


def _pre_key(parser: _Parser, byte: int) -> None:
    if byte in _COMMENTS:
        parser.state = _State.COMMENT
    elif byte not in _BLANKS:
        parser.state, parser.key_end = _State.KEY, -1
        parser.key.append(byte)


def _key(parser: _Parser, byte: int) -> None:
    if byte in _LINE_ENDS:
        parser.key.clear()
        parser.end_line()
    elif byte == ord("="):
        parser.state, parser.value_end = _State.PRE_VALUE, -1
    else:
        if byte not in _BLANKS:
            parser.key_end = -1
        elif parser.key_end < 0:
            parser.key_end = len(parser.key)
        parser.key.append(byte)


def _pre_value(parser: _Parser, byte: int) -> None:
    if byte in _LINE_ENDS:
        parser.end_line()
        parser.push(strip=False)
    elif byte == ord("'"):
        parser.state = _State.SINGLE_QUOTE
    elif byte == ord('"'):
        parser.state = _State.DOUBLE_QUOTE
    elif byte == ord("\\"):
        parser.state = _State.VALUE_ESCAPE
    elif byte not in _BLANKS:
        parser.state = _State.VALUE
        parser.value.append(byte)


def _value(parser: _Parser, byte: int) -> None:
    if byte in _LINE_ENDS:
        parser.end_line()
        parser.push(strip=True)
    elif byte == ord("\\"):
        parser.state, parser.value_end = _State.VALUE_ESCAPE, -1
    else:
        if byte not in _BLANKS:
            parser.value_end = -1
        elif parser.value_end < 0:
            parser.value_end = len(parser.value)
        parser.value.append(byte)


def _value_escape(parser: _Parser, byte: int) -> None:
    parser.state = _State.VALUE
    if byte not in _LINE_ENDS:
        parser.value.append(byte)


def _single_quote(parser: _Parser, byte: int) -> None:
    if byte == ord("'"):
        parser.state = _State.PRE_VALUE
    else:
        parser.value.append(byte)


def _double_quote(parser: _Parser, byte: int) -> None:
    if byte == ord('"'):
        parser.state = _State.PRE_VALUE
    elif byte == ord("\\"):
        parser.state = _State.DOUBLE_QUOTE_ESCAPE
    else:
        parser.value.append(byte)


def _double_quote_escape(parser: _Parser, byte: int) -> None:
    parser.state = _State.DOUBLE_QUOTE
    if byte in _ESCAPED_IN_QUOTES:
        parser.value.append(byte)
    elif byte != ord("\n"):
        parser.value += bytes((ord("\\"), byte))


def _comment(parser: _Parser, byte: int) -> None:
    if byte == ord("\\"):
        parser.state = _State.COMMENT_ESCAPE
    elif byte in _LINE_ENDS:
        parser.end_line()


def _comment_escape(parser: _Parser, byte: int) -> None:
    parser.state = _State.COMMENT


_STEPS: Final = {
    _State.PRE_KEY: _pre_key,
    _State.KEY: _key,
    _State.PRE_VALUE: _pre_value,
    _State.VALUE: _value,
    _State.VALUE_ESCAPE: _value_escape,
    _State.SINGLE_QUOTE: _single_quote,
    _State.DOUBLE_QUOTE: _double_quote,
    _State.DOUBLE_QUOTE_ESCAPE: _double_quote_escape,
    _State.COMMENT: _comment,
    _State.COMMENT_ESCAPE: _comment_escape,
}
# What a step would only append, or skip.
_RUNS: Final = {
    _State.KEY: re.compile(rb"[^= \t\n\r]+"),
    _State.VALUE: re.compile(rb"[^\\ \t\n\r]+"),
    _State.SINGLE_QUOTE: re.compile(rb"[^']+"),
    _State.DOUBLE_QUOTE: re.compile(rb'[^"\\]+'),
    _State.COMMENT: re.compile(rb"[^\\\n\r]+"),
}
