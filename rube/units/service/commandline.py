"""Command lines in the syntax of systemd.service(5), "COMMAND LINES", as systemd 252 reads them. Pure.

Words are text in which bytes that are no UTF-8 (`\\xff`) stand as surrogates, as in `os.fsdecode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rube.units.service.words import (
    BLANKS,
    UnbalancedQuoteError,
    next_word,
    skip_blanks,
    split_value,
)

COMMANDS_MAX = 1_000
"""The most commands in one line."""
ARGUMENTS_MAX = 10_000
"""The most arguments of one command."""
FILE_NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 4095
_SEMICOLON = ord(";")
_UNSAFE = frozenset("\"'\\\x7f") | {chr(code) for code in range(0x20)}


class CommandLineError(ValueError):
    """The command line is not in systemd's syntax; the text says where and why."""


@dataclass(frozen=True)
class CommandLine:
    """One command, neither its variables nor its specifiers replaced yet.

    `prefixes` holds what stood before the program: `-` a failure counts as success, `@` the second word is argv[0],
    `:` no variables are replaced, `+` and `!` run with the supervisor's privileges. (`!!` doesn't: it does so only on
    kernels without ambient capabilities.)
    """

    program: str
    arguments: tuple[str, ...]
    prefixes: str = ""

    @property
    def ignore_failure(self) -> bool:
        return "-" in self.prefixes

    @property
    def keeps_privileges(self) -> bool:
        """True if `user` and `group` don't apply."""
        return "+" in self.prefixes or self.prefixes.count("!") == 1

    def argv(self, environment: Mapping[str, str]) -> list[str]:
        """Returns the program's arguments, argv[0] first. The program's path itself is never replaced."""
        words = list(self.arguments) if "@" in self.prefixes else [self.program, *self.arguments]
        if ":" in self.prefixes:
            return words
        return [word for each in words for word in expand(each, environment)]


def parse_commands(line: str) -> list[CommandLine]:
    """Returns the commands of one Exec line: several are separated by ` ; ` (systemd allows it for Type=oneshot).

    Raises CommandLineError, for a line without any command too.
    """
    raw = line.encode("utf-8", "surrogateescape")
    commands: list[CommandLine] = []
    at = skip_blanks(raw, 0)
    while at < len(raw):
        command, at = _command(raw, at)
        if command is not None:
            commands.append(command)
        if len(commands) > COMMANDS_MAX:
            raise CommandLineError(f"more than {COMMANDS_MAX} commands in one line")
    if not commands:
        raise CommandLineError("no command: write a program's path and its arguments")
    return commands


def expand(argument: str, environment: Mapping[str, str]) -> list[str]:
    """`$NAME` as a whole word becomes the words of its value (none if it is not set); `${NAME}` is replaced in place.

    `$$` becomes `$`. Whatever else begins with `$` and is a word of its own, such as `$1`, disappears; inside a word it
    stays: systemd knows no other variables.
    """
    if argument.startswith("$") and argument[1:2] not in ("{", "$"):
        value = _lookup(argument[1:], environment)
        return [] if value is None else [_text(word) for word in split_value(value.encode("utf-8", "surrogateescape"))]
    return [_expand_inside(argument, environment)]


def _command(raw: bytes, at: int) -> tuple[CommandLine | None, int]:
    """Returns the command that begins at `at`, up to a `;` of its own or the end; None if there is only the `;`."""
    first, at = _word(raw, at)
    if first == ";":
        return None, at
    program, prefixes = _take_prefixes(first)
    _check_program(first, program)
    arguments: list[str] = []
    while at < len(raw):
        if len(arguments) > ARGUMENTS_MAX:
            raise CommandLineError(f"more than {ARGUMENTS_MAX} arguments for {program!r}: have it read a file")
        if raw[at] == _SEMICOLON and _ends_word(raw, at + 1):
            at = skip_blanks(raw, at + 1)
            break
        if raw[at : at + 2] == b"\\;" and _ends_word(raw, at + 2):
            arguments.append(";")
            at = skip_blanks(raw, at + 2)
            continue
        word, at = _word(raw, at)
        arguments.append(word)
    if "@" in prefixes and not arguments:
        raise CommandLineError(f"{first!r} begins with '@', so the word after the program must be its argv[0]")
    return CommandLine(program, tuple(arguments), prefixes), at


def _take_prefixes(word: str) -> tuple[str, str]:
    """Returns the program and its prefixes: each at most once, of `+`, `!` and `!!` one."""
    at = 0
    while at < len(word):
        letter, seen = word[at], word[:at]
        fits = letter in "-@:" and letter not in seen
        fits |= letter == "+" and "+" not in seen and "!" not in seen
        fits |= letter == "!" and "+" not in seen and seen.count("!") < 2
        if not fits:
            break
        at += 1
    return word[at:], word[:at]


def _check_program(first: str, program: str) -> None:
    """Raises CommandLineError for a program name that systemd refuses."""
    if not program:
        raise CommandLineError(f"no program after {first!r}")
    if unsafe := [letter for letter in program if letter in _UNSAFE]:
        raise CommandLineError(f"program {program!r} holds {unsafe[0]!r}: give a path without quotes, \\ or controls")
    if program.endswith("/"):
        raise CommandLineError(f"program {program!r} is a directory: give the path of a file")
    if program.startswith("%"):  # a path once its specifier is replaced
        return
    size = len(program.encode("utf-8", "surrogateescape"))
    if program.startswith("/"):
        longest = max(len(part.encode("utf-8", "surrogateescape")) for part in program.split("/"))
        if size > PATH_BYTES_MAX or longest > FILE_NAME_BYTES_MAX:
            raise CommandLineError(
                f"program {program[:20]!r}… is too long for a path: at most {PATH_BYTES_MAX} bytes, and "
                f"{FILE_NAME_BYTES_MAX} between slashes"
            )
    elif "/" in program:
        raise CommandLineError(f"program {program!r} is a relative path: give an absolute one or a plain name")
    elif program in (".", "..") or size > FILE_NAME_BYTES_MAX:
        raise CommandLineError(f"program {program[:20]!r} is no file's name: give an absolute path or a plain name")


def _word(raw: bytes, at: int) -> tuple[str, int]:
    try:
        word, at = next_word(raw, at)
    except UnbalancedQuoteError as error:
        raise CommandLineError(str(error)) from error
    return _text(word), at


def _ends_word(raw: bytes, at: int) -> bool:
    return at >= len(raw) or raw[at] in BLANKS


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")


def _lookup(name: str, environment: Mapping[str, str]) -> str | None:
    """Returns a variable's value. systemd looks for `name=` at the beginning of `NAME=value`, so that a name may hold a
    `=`."""
    if "=" not in name:
        return environment.get(name) if name else None
    name, _, rest = name.partition("=")
    value = environment.get(name)
    return value[len(rest) + 1 :] if value is not None and value.startswith(f"{rest}=") else None


def _expand_inside(argument: str, environment: Mapping[str, str]) -> str:
    """Implements systemd's replace_env(): `${` without `}`, or with a `:` before it, stays, and the text after it is
    read on."""
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
        elif rest.startswith("{"):
            taken, rest = _braces(rest, environment)
            out.append(taken)
        else:  # the letter after the `$` is skipped
            out.append("$" + rest[:1])
            rest = rest[1:]


def _braces(rest: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Returns the replacement of a text that follows a `$` and begins with `{`, and the rest of the text."""
    colon, brace = rest.find(":"), rest.find("}")
    if colon >= 0 and (brace < 0 or colon < brace):
        return f"${rest[: colon + 1]}", rest[colon + 1 :]
    if brace < 0:
        return f"${rest}", ""
    return _lookup(rest[1:brace], environment) or "", rest[brace + 1 :]
