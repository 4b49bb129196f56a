"""The rules for a value of a unit file, so that it stays one value of one line. Pure."""

from __future__ import annotations

import re
from typing import Final

from rube.units.service.text import invalid_character

BLANKS: Final = " \t"
SECONDS_MAX: Final = 1e9
"""The longest finite time of a unit."""
LINE_BYTES_MAX: Final = 1024 * 1024 - 1
"""systemd refuses the whole file for a longer line, key and all (LONG_LINE_MAX)."""
CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
CONTROL_IN_TITLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUL: Final = re.compile("\0")


def line_problem(value: str) -> str:
    """Returns why systemd's parser would not read this as one value of one line, as the end of a sentence; empty if it
    would.

    Line ends and NUL end a line, a last backslash joins it with the next, and a character that is no text spoils the
    whole file.
    """
    if value.isascii() and value.isprintable() and not value.endswith(("\\", " ")):
        return ""  # nearly all values
    if problem := _problem(value, CONTROL):
        return f"{problem}: a value of a unit file is one line of text"
    stripped = value.rstrip(BLANKS)
    if (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        return "ends in a backslash, which joins it with the next line: double it"
    return ""


def title_problem(value: str) -> str:
    """Returns the error of a comment, which may have several lines."""
    return _problem(value, CONTROL_IN_TITLE)


def environment_problem(value: str) -> str:
    """Returns the error of a variable's value, whose control characters are escaped: NUL, which ends any string, and
    noncharacters."""
    return _problem(value, _NUL)


def _problem(value: str, control: re.Pattern[str]) -> str:
    if found := control.search(value):
        return f"holds the control character {found.group()!r} at position {found.start()}"
    if bad := invalid_character(value):
        return f"holds U+{ord(bad.group()):04X}, which is no character, at position {bad.start()}"
    return ""
