"""Command lines in the syntax of systemd.service(5), "COMMAND LINES": words, prefixes and variables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PREFIXES = "-@:+!"
_BLANKS = " \t\n\r"
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "s": " ",
}
_DIGITS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}
_NAME_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_NAME = _NAME_FIRST | frozenset("0123456789")


class CommandLineError(ValueError):
    """The command line is not in systemd's syntax; the text says where and why."""


@dataclass(frozen=True)
class CommandLine:
    """One command, its variables not yet replaced.

    `prefixes` holds what stood before the program: `-` a failure counts as success, `@` the second word is argv[0],
    `:` no variables are replaced, `+` and `!` run with full privileges.
    """

    program: str
    arguments: tuple[str, ...]
    prefixes: str = ""

    @property
    def ignore_failure(self) -> bool:
        return "-" in self.prefixes

    def argv(self, environment: Mapping[str, str]) -> list[str]:
        """What the program is executed with, argv[0] first. The program itself is never replaced."""
        words = list(self.arguments)
        if ":" not in self.prefixes:
            words = [word for argument in self.arguments for word in expand(argument, environment)]
        return words if "@" in self.prefixes else [self.program, *words]


def parse_commands(line: str) -> list[CommandLine]:
    """The commands of one Exec line: several are separated by ` ; ` (systemd allows it for Type=oneshot).

    Raises CommandLineError.
    """
    commands: list[CommandLine] = []
    words: list[str] = []
    for word, quoted in _words(line):
        if word == ";" and not quoted:
            if words:
                commands.append(_command(words))
            words = []
        else:
            words.append(";" if word == "\\;" and not quoted else word)
    if words:
        commands.append(_command(words))
    if not commands:
        raise CommandLineError("the command line is empty")
    return commands


def expand(argument: str, environment: Mapping[str, str]) -> list[str]:
    """Replaces variables in one argument: `$VAR` alone becomes its words, `${VAR}` is replaced in place.

    `$$` is a `$`. An unset variable is empty (no word at all, if it stood alone).
    """
    name = argument[1:]
    if argument.startswith("$") and name and name[0] in _NAME_FIRST and all(letter in _NAME for letter in name):
        try:
            return [word for word, _ in _words(environment.get(name, ""))]
        except CommandLineError:
            return environment.get(name, "").split()
    return [_expand_inside(argument, environment)]


def _expand_inside(argument: str, environment: Mapping[str, str]) -> str:
    out: list[str] = []
    rest = argument
    while True:
        before, dollar, rest = rest.partition("$")
        out.append(before)
        if not dollar:
            return "".join(out)
        if rest.startswith("$"):
            out.append("$")
            rest = rest[1:]
        elif rest.startswith("{") and "}" in rest:
            name, _, rest = rest[1:].partition("}")
            out.append(environment.get(name, ""))
        else:
            out.append("$")


def _command(words: list[str]) -> CommandLine:
    first = words[0]
    program = first.lstrip(PREFIXES)
    prefixes = first[: len(first) - len(program)]
    if not program:
        raise CommandLineError(f"no program after {first!r}")
    if "@" in prefixes and len(words) < 2:
        raise CommandLineError(f"{first!r} begins with '@', so the word after the program must be its argv[0]")
    if "/" in program and not program.startswith("/"):
        raise CommandLineError(f"program {program!r} is a relative path: give an absolute one or a plain name")
    return CommandLine(program, tuple(words[1:]), prefixes)


def _words(line: str) -> list[tuple[str, bool]]:
    """The words and whether any part of each was quoted. Quotes may stand inside a word, as in systemd >= 218."""
    words: list[tuple[str, bool]] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _BLANKS:
            at += 1
        if at == len(line):
            return words
        word, quoted, at = _word(line, at)
        words.append((word, quoted))


def _word(line: str, at: int) -> tuple[str, bool, int]:
    out: list[str] = []
    quote, quoted, start = "", False, at
    while at < len(line) and (quote or line[at] not in _BLANKS):
        letter = line[at]
        if letter == "\\":
            text, at = _escape(line, at)
            out.append(text)
            continue
        if quote and letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote, quoted = letter, True
        else:
            out.append(letter)
        at += 1
    if quote:
        raise CommandLineError(f"the quote {quote} opened in {line[start:]!r} is never closed")
    return "".join(out), quoted, at


def _escape(line: str, at: int) -> tuple[str, int]:
    """The text that the escape at `at` stands for, and the position after it."""
    kind = line[at + 1 : at + 2]
    if kind in _ESCAPES:
        return _ESCAPES[kind], at + 2
    if kind == ";":
        return "\\;", at + 2
    if kind in _DIGITS:
        count, base = _DIGITS[kind]
        start = at + 2
    elif kind and kind in "01234567":
        count, base, start = 3, 8, at + 1
    else:
        raise CommandLineError(f"unknown escape {line[at : at + 2]!r}: write \\\\ for a backslash")
    digits = line[start : start + count]
    if len(digits) < count or any(digit not in "0123456789abcdefABCDEF"[: 22 if base == 16 else 8] for digit in digits):
        raise CommandLineError(f"the escape {line[at : start + count]!r} needs {count} digits")
    number = int(digits, base)
    if number == 0 or number > 0x10FFFF:
        raise CommandLineError(f"the escape {line[at : start + count]!r} is no character")
    return chr(number), start + count
