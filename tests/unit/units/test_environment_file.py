"""Environment files are read as systemd reads them; tests/real/test_environment_files.py compares with systemd."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.units.drivers.environment_files import read_environment_files
from rube.units.service.environment import (
    FILE_BYTES_MAX,
    EnvironmentFileError,
    parse_environment_file,
)


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("A=1\n B = two words \nC='q q'\nD=\"x=y\"\nbroken\n=nameless\nE=\n", "A=1|B=two words|C=q q|D=x=y|E="),
        ("# c\n; c\n\n  # c\nA=1 # no comment\n", "A=1 # no comment"),
        ("A=one\\\ntwo\nB=x\\\n\n", "A=onetwo|B=x"),
        ("A=\"one\ntwo\"\nB='three\n four'\n", "A=one\ntwo|B=three\n four"),
        ("A='one'\"two\"three\n", "A=onetwothree"),
        ("A=one'two'\n", "A=one'two'"),
        (r'A="\"\\\`\$\n"' + "\n", r'A="\`$\n'),
        ("A=\\a\\ \\\\\n", "A=a \\"),
        ("A='a\\b'\n", "A=a\\b"),
        ("A=$HOME ${B}\n", "A=$HOME ${B}"),
        ("export A=1\nA-B=1\n1A=1\nB=2\n", "B=2"),
        ("A=1\nA=2\n", "A=2"),
        ("# ends in a backslash \\\nA=1\nB=2\n", "B=2"),
        ("A=1\r\nB=2\r\n", "A=1|B=2"),
        ("A=\n=\nB", "A="),
        ('A="never closed\n', "A=never closed\n"),
        ("A=trailing \\", "A=trailing "),
    ],
)
def test_one_file(text: str, variables: str) -> None:
    found = parse_environment_file(text.encode()).variables
    assert "|".join(f"{name}={value}" for name, value in found.items()) == variables


@pytest.mark.parametrize(
    "data", [b"A=\xff\n", b"A=1\0", b"\xffA=1\n", "A=\ufffe\n".encode(), b"A=" + b"x" * FILE_BYTES_MAX]
)
def test_what_is_no_text_or_too_long_is_refused_whole(data: bytes) -> None:
    with pytest.raises(EnvironmentFileError):
        parse_environment_file(b"B=1\n" + data)


def test_what_is_ignored_is_named() -> None:
    assert parse_environment_file(b"export A=1\nB=2\n").ignored == ("export A",)


@given(st.binary(max_size=60))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    try:
        found = parse_environment_file(data)
    except EnvironmentFileError:
        return
    assert all(name.isidentifier() for name in found.variables)


_LINE = b"SOME_NAME='some value' and more\n"


@pytest.mark.parametrize(
    "data", [_LINE * 60_000, b"A=" + b"\\" * 2_000_000, b" " * 2_000_000, b"A='" + b"x" * 4_000_000]
)
def test_large_files_take_seconds_not_minutes(data: bytes) -> None:
    start = time.process_time()
    parse_environment_file(data)
    assert time.process_time() - start < 10


def test_a_fifo_is_refused_at_once_and_devices_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="neither a file nor a character device") as caught:
        read_environment_files([f"{tmp_path}/fifo"])
    assert caught.value.filename == f"{tmp_path}/fifo"
    assert read_environment_files([f"-{tmp_path}/fifo", "/dev/null"]).variables == {}
    with pytest.raises(OSError, match="more than"):
        read_environment_files(["/dev/zero"])


def test_later_files_win_and_patterns_are_sorted(tmp_path: Path) -> None:
    for name, text in (("2", "A=two\nC-=x"), ("1", "A=one\nB=one")):
        (tmp_path / name).write_text(text)
    found = read_environment_files([f"{tmp_path}/*", f"-{tmp_path}/none"])
    assert found.variables == {"A": "two", "B": "one"}
    assert found.ignored == (f"{tmp_path}/2: C-",)
