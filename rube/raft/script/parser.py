"""The format of cockroachdb/datadriven: directives with input and expected output, kept with the text between them.

    # A comment.
    command argument key=value key=(value, value)
    input, if any
    ----
    expected output, up to a blank line

Output that has blank lines itself stands between two pairs of `----` lines. A directive line that ends in a backslash
goes on in the next line. `subtest NAME` and `subtest end` have neither input nor output.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rube.api.errors import InvalidArgumentError

_SEPARATOR = "----"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_NUMBER_MAX = 2**64 - 1  # the range of indexes and ids in messages
_DIGITS_MAX = 20
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class ScriptError(InvalidArgumentError):
    """The script is not understood; the message names its line."""

    reason = "RAFT_SCRIPT"


@dataclass(frozen=True, slots=True)
class Argument:
    """`key`, `key=value` or `key=(value, …)`; without `=` there are no values."""

    key: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A command with its arguments and input, and its expected output (None: the script has none)."""

    command: str
    arguments: tuple[Argument, ...]
    input: str = ""
    expected: str | None = None
    source: str
    line: int
    """The command's line, from 1."""
    text: str
    """The text from the end of the previous directive up to this one's separator."""

    def error(self, message: str) -> ScriptError:
        """Returns an error that names this directive's place and command."""
        return ScriptError(f"{self.source}:{self.line}: {self.command}: {message}")

    def words(self) -> list[str]:
        """Returns the arguments without values."""
        return [argument.key for argument in self.arguments if not argument.values]

    def numbers(self) -> list[int]:
        """Returns the arguments without values, as numbers."""
        return [self.number(word) for word in self.words()]

    def options(self) -> Iterator[tuple[str, str]]:
        """Yields each value of each argument that has some, with the argument's key."""
        return ((argument.key, value) for argument in self.arguments for value in argument.values)

    def number(self, text: str) -> int:
        """Parses a decimal number of 64 bits. Raises ScriptError."""
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX and int(text) <= _NUMBER_MAX):
            raise self.error(f"{text!r} is not a number from 0 to {_NUMBER_MAX}")
        return int(text)

    def boolean(self, text: str) -> bool:
        """Parses `true` or `false`. Raises ScriptError."""
        if text not in _TRUE | _FALSE:
            raise self.error(f"{text!r} is neither true nor false")
        return text in _TRUE


@dataclass(frozen=True, slots=True)
class Script:
    """The directives in order, and the text after the last one."""

    directives: tuple[Directive, ...]
    tail: str

    def rewritten(self, outputs: Sequence[str]) -> str:
        """Returns the script's text with these outputs as the expected ones, one for each directive except subtests."""
        parts = []
        left = iter(outputs)
        for directive in self.directives:
            parts.append(directive.text)
            if directive.command != "subtest":
                parts.append(_expectation(next(left)))
        return "".join(parts) + self.tail


def parse_script(text: str, source: str) -> Script:
    """Parses a script. Raises ScriptError."""
    return _Parser(text, source).script()


def parse_line(line: str) -> tuple[str, tuple[Argument, ...]]:
    """Returns the command of a directive line and its arguments. Raises ScriptError, with the column."""
    command, _, rest = line.strip().partition(" ")
    arguments = []
    rest = rest.strip()
    while rest:
        column = len(line.strip()) - len(rest) + 1
        key, rest = _until(rest, " =")
        if not key:
            raise ScriptError(f"cannot parse directive at column {column}: {line.strip()}")
        values: tuple[str, ...] = ()
        if rest.startswith("=("):
            values, rest = _list(rest[2:], line.strip())
        elif rest.startswith("="):
            value, rest = _until(rest[1:], " ")
            values = (value,)
        arguments.append(Argument(key, values))
        rest = rest.strip()
    return command, tuple(arguments)


def terminated(output: str) -> str:
    """Returns the output with a line end after its last line, as scripts have it."""
    return output if not output or output.endswith("\n") else output + "\n"


class _Parser:
    def __init__(self, text: str, source: str) -> None:
        self._lines = io.StringIO(text).readlines()  # line ends are \n alone
        self._source = source
        self._at = 0

    def script(self) -> Script:
        directives = []
        start = 0
        while self._at < len(self._lines):
            line = self._at + 1
            head = self._directive_line()
            if not head or head.startswith("#"):
                continue
            directives.append(self._directive(head, line, start))
            start = self._at
        return Script(tuple(directives), "".join(self._lines[start:]))

    def _directive_line(self) -> str:
        head = self._next().strip()
        while head.endswith("\\") and not head.startswith("#") and self._at < len(self._lines):
            head = head[:-1] + " " + self._next().strip()
        return head

    def _directive(self, head: str, line: int, start: int) -> Directive:
        try:
            command, arguments = parse_line(head)
        except ScriptError as error:
            raise ScriptError(f"{self._source}:{line}: {error.message}") from error
        input_lines: list[str] = []
        end = self._at
        expected = None
        while command != "subtest" and self._at < len(self._lines):
            end = self._at
            text = self._next()
            if text == _SEPARATOR:
                expected = self._expected(line)
                break
            input_lines.append(text)
            end = self._at
        return Directive(
            command=command,
            arguments=arguments,
            input="\n".join(input_lines).strip(),
            expected=expected,
            source=self._source,
            line=line,
            text="".join(self._lines[start:end]),
        )

    def _expected(self, line: int) -> str:
        lines: list[str] = []
        if self._peek() != _SEPARATOR:
            while self._at < len(self._lines) and (text := self._next()).strip():
                lines.append(text + "\n")
            return "".join(lines)
        self._next()
        while self._at < len(self._lines):
            text = self._next()
            if text == _SEPARATOR and self._peek() == _SEPARATOR:
                self._next()
                if self._at < len(self._lines) and self._next():
                    raise ScriptError(f"{self._source}:{self._at}: a blank line must follow the closing ---- lines")
                return "".join(lines)
            lines.append(text + "\n")
        raise ScriptError(f"{self._source}:{line}: the closing ---- lines of the output are missing")

    def _peek(self) -> str | None:
        return self._lines[self._at].rstrip("\n") if self._at < len(self._lines) else None

    def _next(self) -> str:
        self._at += 1
        return self._lines[self._at - 1].rstrip("\n")


def _until(text: str, stops: str) -> tuple[str, str]:
    end = min((at for at in map(text.find, stops) if at >= 0), default=len(text))
    return text[:end], text[end:]


def _list(text: str, line: str) -> tuple[tuple[str, ...], str]:
    """Returns the values up to the closing parenthesis, which may themselves have parentheses in pairs; and the rest of
    the text."""
    values: list[str] = []
    level, start = 1, 0
    for at, character in enumerate(text):
        level += {"(": 1, ")": -1}.get(character, 0)
        if level == 0 or (level == 1 and character == ","):
            values.append(text[start:at].lstrip(" ") if values else text[start:at])
            start = at + 1
        if level == 0:
            return tuple(values), text[start:]
    raise ScriptError(f"the parenthesis at column {len(line) - len(text)} is not closed: {line}")


def _expectation(output: str) -> str:
    output = terminated(output)
    if any(not line.strip() for line in output.splitlines()):
        return f"{_SEPARATOR}\n{_SEPARATOR}\n{output}{_SEPARATOR}\n{_SEPARATOR}\n\n"
    return f"{_SEPARATOR}\n{output}\n"
