"""Command lines mean what they mean to systemd (systemd.service(5), "COMMAND LINES")."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.units.service.commandline import CommandLineError, expand, parse_commands

ENVIRONMENT = {"ONE": "one", "TWO": "two two", "QUOTED": "'a b' c", "EMPTY": "", "ESCAPES": "\\a b\\ c '\\nd"}


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ('echo "Hey You!"', ["echo", "Hey You!"]),
        ("/bin/echo  a\tb ", ["/bin/echo", "a", "b"]),
        ("/bin/echo 'single \"double\" inside'", ["/bin/echo", 'single "double" inside']),
        ('/bin/echo a"b c"d', ["/bin/echo", "ab cd"]),
        (r"/bin/echo \x41\102é\s\t", ["/bin/echo", "ABé \t"]),
        ('/bin/echo ""', ["/bin/echo", ""]),
        ("/bin/echo $ONE $TWO ${TWO}", ["/bin/echo", "one", "two", "two", "two two"]),
        ("/bin/echo $QUOTED", ["/bin/echo", "a b", "c"]),
        ("/bin/echo $EMPTY $UNSET x${UNSET}y", ["/bin/echo", "xy"]),
        ("/bin/echo $$ONE a$ONE a$1", ["/bin/echo", "$ONE", "a$ONE", "a$1"]),
        ("/bin/echo $1 $ $ONE-x '$TWO'", ["/bin/echo", "two", "two"]),
        ("/bin/echo ${ ${ONE a${ONE:-x}", ["/bin/echo", "${", "${ONE", "a${ONE:-x}"]),
        ("/bin/echo ${1}x ${}y ${ONE}$$${TWO}", ["/bin/echo", "x", "y", "one$two two"]),
        (r"/bin/echo \q \q \x4 \x00 \777 \u00e9", ["/bin/echo", "\\q", "\\q", "\\x4", "\\x00", "\\777", "é"]),
        (r"/bin/echo \xc3\xa9 \303\251 \xff", ["/bin/echo", "é", "é", "\udcff"]),
        ("/bin/echo $ESCAPES", ["/bin/echo", "a", "b c", "nd"]),
        ("@/bin/sh $ONE b", ["one", "b"]),
        ("/bin/a$$b", ["/bin/a$b"]),
        (":/bin/echo $ONE ${ONE}", ["/bin/echo", "$ONE", "${ONE}"]),
        ("@/bin/sh -sh -c true", ["-sh", "-c", "true"]),
        ("-/bin/false", ["/bin/false"]),
        (r"/bin/echo a \; b", ["/bin/echo", "a", ";", "b"]),
        ("/bin/echo a ';' b", ["/bin/echo", "a", ";", "b"]),
    ],
)
def test_one_command(line: str, argv: list[str]) -> None:
    (command,) = parse_commands(line)
    assert command.argv(ENVIRONMENT) == argv


def test_the_program_is_kept_apart_from_its_prefixes() -> None:
    (command,) = parse_commands("-@/bin/sh sh")
    assert (command.program, command.prefixes, command.ignore_failure) == ("/bin/sh", "-@", True)


@pytest.mark.parametrize(
    ("prefixes", "keeps"), [("", False), ("+", True), ("!", True), ("!!", False), ("-!@:", True), ("!-!", False)]
)
def test_only_some_prefixes_keep_privileges(prefixes: str, keeps: bool) -> None:
    (command,) = parse_commands(f"{prefixes}/bin/true argv0")
    assert (command.program, command.keeps_privileges) == ("/bin/true", keeps)


def test_a_program_may_begin_with_a_specifier() -> None:
    (command,) = parse_commands("%h/bin/run")
    assert command.program == "%h/bin/run"


def test_a_semicolon_of_its_own_parts_commands() -> None:
    assert [each.arguments for each in parse_commands("echo a ; echo b")] == [("a",), ("b",)]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        ";",
        'echo "open',
        "echo 'open",
        "-",
        "@/bin/sh",
        "./relative",
        "--/bin/true",
        "+!/bin/true",
        "!!!/bin/true",
        "/bin/",
        "..",
        r"/bin/a\\b",
        "'/bin/a\\tb'",
        "/" + "x" * 256,
        "/bin" * 2000,
        "echo \\",
    ],
)
def test_what_systemd_refuses_is_refused(line: str) -> None:
    with pytest.raises(CommandLineError):
        parse_commands(line)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), max_size=5))
def test_quoted_words_come_back_whatever_they_hold(words: list[str]) -> None:
    def quote(word: str) -> str:
        escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
        return f'"{escaped}"'

    (command,) = parse_commands("/bin/echo " + " ".join(map(quote, words)))
    assert command.argv({}) == ["/bin/echo", *words]


@given(st.text(max_size=40))
def test_a_line_is_parsed_or_refused_and_nothing_else(line: str) -> None:
    try:
        commands = parse_commands(line)
    except CommandLineError:
        return
    assert all(command.program for command in commands)


@given(st.text(max_size=20))
def test_expansion_of_any_argument_ends(argument: str) -> None:
    assert isinstance(expand(argument, ENVIRONMENT), list)
