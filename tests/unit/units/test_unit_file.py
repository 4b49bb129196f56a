"""Unit files are read as systemd reads them: comments, continuation, line ends, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.units.unit_file import Directive, UnitFileError, parse_unit_file
from rube.units.values import LINE_BYTES_MAX


def values(text: str) -> dict[str, str]:
    return {each.key: each.value for each in parse_unit_file(b"[S]\n" + text.encode())}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A=1\n  B = two words \n", {"A": "1", "B": "two words"}),
        ("# c\n; c\n\n\t# c\nA=1 # no comment", {"A": "1 # no comment"}),
        ("A=one\\\ntwo\nB=x\\\\\nC=1", {"A": "one two", "B": "x\\\\", "C": "1"}),
        ("A=one\\\n# a comment within \\\n; and another\n  two\nB=2", {"A": "one   two", "B": "2"}),
        ("A=1\r\nB=2\rC=3\n\rD=4\0E=5", {"A": "1", "B": "2", "C": "3", "D": "4", "E": "5"}),
        ("A=goes on to the end\\", {"A": "goes on to the end"}),
        ("A=x=y\nB=\n", {"A": "x=y", "B": ""}),
        ("# a comment is never continued \\\nA=1", {"A": "1"}),
        ("A=\\\\\\\n1", {"A": "\\\\ 1"}),
    ],
)
def test_settings(text: str, found: dict[str, str]) -> None:
    assert values(text) == found


def test_sections_and_a_byte_order_mark() -> None:
    assert parse_unit_file(b"\xef\xbb\xbf[A]\nk=1\n[B]\nk=2\n") == [Directive("A", "k", "1"), Directive("B", "k", "2")]


@pytest.mark.parametrize(
    "data",
    [
        b"k=1\n",
        b"[A\nk=1\n",
        b'[A"]\n',
        b"[A]\nno assignment\n",
        b"[A]\n=x\n",
        b"[A]\nk=\xff\n",
        "[A]\nk=\ufffe\n".encode(),
        b"[A]\nk=" + b"x" * LINE_BYTES_MAX,
        b"[A]\n# " + b"x" * LINE_BYTES_MAX,
        b"[A]\nk=" + (b"x" * 1000 + b"\\\n") * 1100,
    ],
)
def test_what_systemd_refuses_or_ignores_is_an_error(data: bytes) -> None:
    with pytest.raises(UnitFileError):
        parse_unit_file(data)


def test_the_longest_line_is_read() -> None:
    assert len(parse_unit_file(b"[A]\nk=" + b"x" * (LINE_BYTES_MAX - 2))[0].value) == LINE_BYTES_MAX - 2


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_unit_file(data)
    except UnitFileError:
        pass
