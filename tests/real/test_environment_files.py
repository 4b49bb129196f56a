"""Environment files mean to Rube's reader what they mean to a real systemd: random files, printed by real units."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.units.drivers.environment_files import read_environment_files
from tests.real.systemd_manager import SystemdManager, missing
from tests.real.unit_printer import outputs

FILES = 400
_PIECES = [
    *(b"A B C D E_1 = = = = = \\ \\ \\ ' ' \" \" # ; $ ` { } * x y 7 - . export \xc3\xa9".split()),
    b" ",
    b" ",
    b"\t",
    b"\n",
    b"\n",
    b"\n",
    b"\r",
    b"\\\n",
    b"\nA=",
    b"\nB='",
    b'\nC="',
    b"\n#",
    b"\n;",
    b"\x01",
]
_RARE = [b"\xff", b"\xed\xa0\x80", b"\xef\xbf\xbf", b"\xef\xbb\xbf", b"\0"]
_OWN = {"INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM", "MANAGERPID"}


@pytest.fixture(scope="module")
def manager() -> Iterator[SystemdManager]:
    if reason := missing():
        pytest.skip(reason)
    with SystemdManager() as started:
        yield started


def _random_file(dice: random.Random) -> bytes:
    pieces = dice.choices(_PIECES, k=dice.randrange(1, 40))
    if dice.random() < 0.05:
        pieces.insert(dice.randrange(len(pieces) + 1), dice.choice(_RARE))
    return b"".join(pieces)


def _definition(paths: list[str]) -> list[bytes]:
    return [*(f"EnvironmentFile={path}".encode() for path in paths), b"ExecStart=/usr/bin/env -0"]


def _printed(out: bytes | None, usual: set[str]) -> dict[str, str] | None:
    if out is None:
        return None
    pairs = [each.partition("=") for each in out.decode().split("\0") if each]
    return {name: value for name, _, value in pairs if name not in usual}


def _read(paths: list[str]) -> dict[str, str] | None:
    try:
        return read_environment_files(paths).variables
    except OSError:
        return None


def _usual(manager: SystemdManager, directory: Path) -> set[str]:
    """The variables that every unit of this manager has."""
    (out,) = outputs(manager, directory, [[b"ExecStart=/usr/bin/env -0"]])
    assert out is not None
    return {each.partition("=")[0] for each in out.decode().split("\0") if each} | _OWN


def test_random_files_are_read_as_systemd_reads_them(manager: SystemdManager, tmp_path: Path) -> None:
    dice = random.Random(11)
    usual = _usual(manager, tmp_path)
    files = []
    for index in range(FILES):
        path = tmp_path / f"{index}.env"
        path.write_bytes(_random_file(dice))
        files.append(path)
    printed = outputs(manager, tmp_path, [_definition([str(path)]) for path in files])
    different = [
        (path.read_bytes(), _printed(out, usual), _read([str(path)]))
        for path, out in zip(files, printed, strict=True)
        if _printed(out, usual) != _read([str(path)])
    ]
    assert different == []
    assert sum(1 for out in printed if out is None) < FILES / 4
    assert sum(1 for path in files if _read([str(path)])) > FILES / 4


def test_optional_files_and_patterns_are_taken_as_systemd_takes_them(manager: SystemdManager, tmp_path: Path) -> None:
    usual = _usual(manager, tmp_path)
    for name, text in (("a1", "A=1\nB=1"), ("a2", "B=2"), ("b[", "C=3"), ("ä", "D=4"), (".hidden", "E=5")):
        (tmp_path / name).write_text(text)
    (tmp_path / "bad").write_bytes(b"A=fine\nB=\xff\n")
    (tmp_path / "directory").mkdir()
    patterns = [
        ["none"],
        ["-none"],
        ["a*"],
        ["a2", "a1"],
        ["-a[[:digit:]]"],
        ["[^a]*"],
        ["b\\["],
        ["b["],
        ["bad"],
        ["-bad", "a1"],
        ["*"],
        ["-*"],
        ["?1"],
        ["directory"],
        ["-directory"],
        ["none*"],
        ["-none*", "a2"],
    ]
    cases = [[_within(tmp_path, item) for item in items] for items in patterns]
    printed = outputs(manager, tmp_path, [_definition(paths) for paths in cases])
    for items, paths, out in zip(patterns, cases, printed, strict=True):
        assert _printed(out, usual) == _read(paths), items


def _within(directory: Path, item: str) -> str:
    optional = "-" if item.startswith("-") else ""
    return f"{optional}{directory}/{item.removeprefix('-')}"
