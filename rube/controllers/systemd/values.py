"""What a value of a unit file may hold, so that it stays one value of one line. Pure."""

from __future__ import annotations

import re
from typing import Final

from rube.controllers.systemd.service.text import invalid_character

__all__ = ["BLANKS", "LINE_BYTES_MAX", "environment_problem", "line_problem", "text_problem"]

BLANKS: Final = " \t"
LINE_BYTES_MAX: Final = 1024 * 1024 - 1
"""systemd refuses the whole file for a longer line, key and all (LONG_LINE_MAX)."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def line_problem(value: str) -> str:
    """Why systemd's parser would not read this as one value of one line, as the end of a sentence; empty if it would.

    Line ends and NUL end a line, a last backslash joins it with the next, and what is no text spoils the whole file.
    """
    if problem := text_problem(value, allowed=""):
        return f"{problem}: a value of a unit file is one line of text"
    stripped = value.rstrip(BLANKS)
    if (len(stripped) - len(stripped.rstrip("\\"))) % 2:
        return "ends in a backslash, which joins it with the next line: double it"
    return ""


def text_problem(value: str, *, allowed: str) -> str:
    """The first control character (tabs and those that are `allowed` are none) or noncharacter; empty without one."""
    for found in _CONTROL.finditer(value):
        if found.group() not in allowed:
            return f"holds the control character {found.group()!r} at position {found.start()}"
    if bad := invalid_character(value):
        return f"holds U+{ord(bad.group()):04X}, which is no character, at position {bad.start()}"
    return ""


def environment_problem(value: str) -> str:
    """For a variable's value, whose control characters are escaped: NUL, which ends any string, and noncharacters."""
    return text_problem(value, allowed=_ESCAPABLE)


_ESCAPABLE: Final = "".join(map(chr, range(1, 0x20))) + "\x7f"
