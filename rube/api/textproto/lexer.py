"""The library's tokens with their places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from google.protobuf import text_format

from rube.api.errors import InvalidArgumentError
from rube.api.textproto.escapes import EscapeError, unescape
from rube.api.textproto.invisible import INVISIBLE_ESCAPES, describe, find_invisible

_FOUND_CHARS_MAX: Final = 40
_QUOTES: Final = ("'", '"')


class Position(NamedTuple):
    """A place in a text; lines and columns count from 1."""

    filename: str
    line: int
    column: int

    def error(self, what: str, **metadata: str) -> InvalidArgumentError:
        """Returns an error whose message begins `file:line:column: `."""
        return InvalidArgumentError(
            f"{self}: {what}", file=self.filename, line=self.line, column=self.column, **metadata
        )

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}"


class _Tokenizer(text_format.Tokenizer):
    # The library's patterns, made possessive: they do not keep backtracking state, which takes a hundred bytes for each
    # byte of a string of escapes, or of white space.
    _TOKEN = re.compile(
        r"[a-zA-Z_][0-9a-zA-Z_+-]*+|(?:[0-9+-]|\.[0-9])[0-9a-zA-Z_.+-]*+"
        r"|\"(?:[^\"\n\\]|\\.)*+(?:\"|\\?$)|'(?:[^'\n\\]|\\.)*+(?:'|\\?$)"
    )
    _WHITESPACE_OR_COMMENT = re.compile(r"(?:\s|#.*$)++", re.MULTILINE)

    def place(self) -> tuple[int, int]:
        """Returns line and column of the current token. The library's public way, an error, copies the whole line each
        time."""
        return self._line + 1, self._column + 1  # type: ignore[attr-defined]  # the stub leaves them out


class Lexer:
    """A cursor over the tokens of a text. Comments and white space are skipped; "" is the end."""

    def __init__(self, lines: Iterable[str], filename: str, first_line: int = 1) -> None:
        """`first_line` is the number of the first of the lines in the file."""
        self._filename = filename
        self._before_lines = first_line - 1
        self._tokenizer = _Tokenizer(self._checked(lines))

    @property
    def current(self) -> str:
        return self._tokenizer.token

    @property
    def position(self) -> Position:
        line, column = self._tokenizer.place()
        return Position(self._filename, self._before_lines + line, column)

    def take(self) -> str:
        token = self._tokenizer.token
        self._tokenizer.NextToken()
        return token

    def accept(self, *tokens: str) -> str:
        """Takes the current token if it is one of these; otherwise returns ""."""
        return self.take() if self.current and self.current in tokens else ""

    def expect(self, token: str, why: str) -> None:
        if not self.accept(token):
            raise self.position.error(f"expected '{token}' {why}, found {self.found()}")

    def found(self) -> str:
        """Returns the current token, for an error text."""
        if not self.current:
            return "the end"
        token = self.current
        if len(token) == 1 and not (token.isascii() and token.isprintable()):
            return describe(token)
        return f"'{token}'" if len(token) <= _FOUND_CHARS_MAX else f"'{token[:_FOUND_CHARS_MAX]}…'"

    def at_string(self) -> bool:
        return self.current[:1] in _QUOTES

    def string(self) -> bytes:
        """Takes a string; adjacent ones are joined."""
        value = bytearray()
        while self.at_string():
            value += self._literal()
        return bytes(value)

    def _literal(self) -> bytes:
        text = self.current
        if len(text) < 2 or text[-1] != text[0]:
            raise self.position.error(
                f"the string {self.found()} has no closing {text[0]} on its line; write a line break as \\n"
            )
        try:
            value = unescape(text[1:-1])
        except EscapeError as error:
            _, line, column = self.position
            raise Position(self._filename, line, column + 1 + error.place).error(str(error)) from None
        self.take()
        return value

    def _checked(self, lines: Iterable[str]) -> Iterator[str]:
        for number, line in enumerate(lines, start=self._before_lines + 1):
            if (found := find_invisible(line)) is not None:
                place, character = found
                raise Position(self._filename, number, place + 1).error(
                    f"here is {describe(character)}, which cannot be seen; remove it, or write "
                    f"{INVISIBLE_ESCAPES[ord(character)]} in a string that needs it"
                )
            yield line
