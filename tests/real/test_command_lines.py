"""Command lines mean to Rube what they mean to a real systemd: random ones, whose arguments real units print."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api import Service, Unit
from rube.units.drivers.machine import machine_specifiers
from rube.units.drivers.supervisor.plan import plan_of
from rube.units.service.commandline import CommandLine, CommandLineError, parse_commands
from rube.units.service.specifiers import LETTERS, specifiers_in
from tests.real.systemd_manager import SystemdManager, missing
from tests.real.unit_printer import BATCH_MAX, outputs

LINES = 300
_ENVIRONMENT = {
    "ONE": "one",
    "TWO": "two  two",
    "QUOTED": "'a b' \"c\\\" d",
    "EMPTY": "",
    "BLANK": "  ",
    "BACK": "a\\ b\\nc \\\\ d\\",
    "OPEN": "a 'b c",
    "EQ": "x=y",
    "DOLLAR": "$ONE ${ONE}",
}
# ruff: noqa: SIM905  # many small words are better read in one line
_PIECES = [
    *r"$ONE $TWO ${TWO} $QUOTED ${QUOTED} $EMPTY ${EMPTY} $BLANK $BACK ${BACK} $OPEN $EQ ${EQ=x} $EQ=x $DOLLAR".split(),
    *r"$UNSET ${UNSET} $1 ${1} $ $$ $$$ ${ } { ${ONE:-x} ${ONE: $ONE-x ${$ONE} $$ONE $9 $_ a b = : - @ * ~ # é".split(),
    *r"\x41 \xff \xc3\xa9 \x4 \x00 \101 \777 \000 \08 \u00e9 \ud800 \uffff \U0001F600 \U0000fffe \U00110000".split(),
    *r"""\q \s \n \t \\ \" \' \; \$ \% \a ' ' ' " " " ; \; ';' ;; """.split(),
    *"%% %n %N %p %P %i %j %J %f % %- %é".split(),
    *([" "] * 60),
    "\t",
    " ; /bin/sh {script} ",
    " ; -/bin/sh {script} ",
    " ; ",
    " \\; ",
]
_SCRIPT = "cat /proc/$$/cmdline\nprintf '<end>\\0'\n"


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    if reason := missing():
        pytest.skip(reason)
    with SystemdManager() as started:
        yield started


def _assignments() -> list[bytes]:
    quoted = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in _ENVIRONMENT.items()}
    return [f'Environment="{name}={value}"'.encode() for name, value in sorted(quoted.items())]


def _printed_by(out: bytes | None) -> list[list[bytes]] | None:
    """The arguments of each command that printed itself; None where systemd refused the unit."""
    if out is None:
        return None
    return [each.split(b"\0")[:-1] for each in out.split(b"<end>\0")[:-1]]


def _expected(name: str, line: str) -> list[list[bytes]] | None:
    """The words that Rube makes of the same line."""
    unit = Unit()
    unit.service.type = Service.ONESHOT
    unit.service.exec.start.append(line)
    try:
        plan = plan_of(name, unit, machine=machine_specifiers())
    except CommandLineError:
        return None
    commands = [CommandLine(program, tuple(words), prefixes) for program, words, prefixes in plan.commands["start"]]
    return [[os.fsencode(word) for word in command.argv(_ENVIRONMENT)] for command in commands]


def _compare(manager: SystemdManager, directory: Path, lines: list[str]) -> None:
    (directory / "print").write_text(_SCRIPT)
    definitions = [[*_assignments(), f"ExecStart={line}".encode()] for line in lines]
    different = []
    for index, (line, out) in enumerate(zip(lines, outputs(manager, directory, definitions), strict=True)):
        printed, expected = _printed_by(out), _expected(f"printer-{index % BATCH_MAX}.service", line)
        if expected is None and ";" in line:
            continue  # a command that is wrong: systemd drops it and what follows, or refuses it; Rube always refuses
        if printed != expected:
            different.append((line, printed, expected))
    assert different == [], f"{len(different)} lines differ, such as {different[:5]}"


def _random_line(dice: random.Random, script: Path) -> str:
    head = dice.choice(
        ["/bin/sh {script} ", "@/bin/sh argv0 {script} ", ":/bin/sh {script} ", ":@/bin/sh $ONE {script} "]
    )
    line = head + "".join(dice.choices(_PIECES, k=dice.randrange(1, 12)))
    return line.replace("{script}", str(script)).strip(" \t")


def _is_continued(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _runs_others(line: str) -> bool:
    """True if a command of it is no printer, and so fails."""
    try:
        return any(command.program != "/bin/sh" for command in parse_commands(line))
    except CommandLineError:
        return False


def test_random_lines_are_read_as_systemd_reads_them(manager: SystemdManager, tmp_path: Path) -> None:
    dice = random.Random(5)
    lines: list[str] = []
    while len(lines) < LINES:
        line = _random_line(dice, tmp_path / "print")
        unknown = [letter for letter in specifiers_in(line) if letter not in LETTERS]
        if not (_is_continued(line) or unknown or _runs_others(line)):
            lines.append(line)
    _compare(manager, tmp_path, lines)


def test_prefixes_and_programs_are_taken_as_systemd_takes_them(manager: SystemdManager, tmp_path: Path) -> None:
    script = tmp_path / "print"
    heads = "sh /bin/sh -/bin/sh @/bin/sh :/bin/sh -@:/bin/sh @-:sh --/bin/sh @@/bin/sh '/bin/sh' ./sh bin/sh /bin//sh "
    heads += '/bin/../bin/sh /bin/ . .. - @ : +- /bin/s\\x68 "/bin/sh /bin/sh\\\\'
    lines = [f"{head} {'argv0 ' if '@' in head else ''}{script} a '' b" for head in heads.split()]
    lines += [
        "@/bin/sh",
        f"; /bin/sh {script} b",
        f"/bin/sh {script} ;",
        f"/bin/sh {script} \\;",
        f"/bin/sh {script} a;",
    ]
    _compare(manager, tmp_path, lines)
