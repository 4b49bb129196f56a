"""The library's tokens with their places."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from google.protobuf import text_encoding, text_format

from rube.api.errors import InvalidArgumentError

_ESCAPE: Final = re.compile(r"\\(.?)([0-7]{0,2})")
_ESCAPES: Final = frozenset("abfnrtv?\\'\"01234567xXuU")
_QUOTES: Final = ("'", '"')


class Position(NamedTuple):
    """Where something stands; lines and columns count from 1."""

    filename: str
    line: int
    column: int

    def error(self, what: str, **metadata: str) -> InvalidArgumentError:
        """An error whose message begins `file:line:column: `."""
        return InvalidArgumentError(
            f"{self}: {what}", file=self.filename, line=self.line, column=self.column, **metadata
        )

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}"


class _Tokenizer(text_format.Tokenizer):
    def place(self) -> tuple[int, int]:
        """Line and column of the current token. The public way, an error, copies the whole line each time."""
        return self._line + 1, self._column + 1  # type: ignore[attr-defined]  # the stub leaves them out


class Tokens:
    """A cursor over the tokens of a text. Comments and white space are skipped; "" is the end."""

    def __init__(self, lines: Iterable[str], filename: str) -> None:
        self._tokenizer = _Tokenizer(lines)
        self._filename = filename

    @property
    def current(self) -> str:
        return self._tokenizer.token

    @property
    def position(self) -> Position:
        return Position(self._filename, *self._tokenizer.place())

    def take(self) -> str:
        token = self._tokenizer.token
        self._tokenizer.NextToken()
        return token

    def accept(self, *tokens: str) -> str:
        """Takes the current token if it is one of these; otherwise gives ""."""
        return self.take() if self.current and self.current in tokens else ""

    def expect(self, token: str, why: str) -> None:
        if not self.accept(token):
            raise self.position.error(f"expected '{token}' {why}, found {self.found()}")

    def found(self) -> str:
        """The current token, for an error text."""
        if not self.current:
            return "the end"
        return f"'{self.current}'" if len(self.current) <= 40 else f"'{self.current[:40]}…'"

    def at_string(self) -> bool:
        return self.current[:1] in _QUOTES

    def string(self) -> bytes:
        """Takes a string; adjacent ones are one."""
        parts = []
        while self.at_string():
            parts.append(self._literal())
        return b"".join(parts)

    def _literal(self) -> bytes:
        text = self.current
        if len(text) < 2 or text[-1] != text[0]:
            raise self.position.error(
                f"the string {self.found()} has no closing {text[0]} on its line; write a line break as \\n"
            )
        for escape in _ESCAPE.finditer(text, 1, len(text) - 1):
            if escape[1] not in _ESCAPES or (escape[1] in "4567" and len(escape[2]) == 2):
                _, line, column = self.position
                raise Position(self._filename, line, column + escape.start()).error(
                    f"'{escape[0]}' is not an escape; write a backslash as \\\\"
                )
        try:
            value = text_encoding.CUnescape(_ESCAPE.sub(_as_python_has_it, text[1:-1]))
        except ValueError as error:
            raise self.position.error(f"the string {self.found()} has a damaged escape: {error}") from error
        self.take()
        return value


def _as_python_has_it(escape: re.Match[str]) -> str:
    """The library unescapes as Python does, which lacks two of the language's escapes."""
    return {"?": "?", "X": "\\x"}.get(escape[1], f"\\{escape[1]}") + escape[2]
