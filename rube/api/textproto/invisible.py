"""Invisible characters: a byte-order mark in the middle, zero-width ones, those that change the direction of text.

Copying brings them in. They make two names differ that look alike; those of direction can make a text look otherwise
than it is (https://trojansource.codes/). So they are refused as they are, and written as escapes if a string needs
them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Unicode's format characters except the visible ones (Arabic signs before numbers), its separators of lines and
# paragraphs, and the Hangul fillers. First and last of each range.
_RANGES: Final = (
    (0xAD, 0xAD),
    (0x61C, 0x61C),
    (0x115F, 0x1160),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x2028, 0x202E),
    (0x2060, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0000, 0xE007F),
)
# The zero-width non-joiner and joiner are legitimate after a character of Persian, of Indic scripts or an emoji.
_JOINERS: Final = "\u200c\u200d"
_CLASS: Final = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in _RANGES)
_PATTERN: Final = re.compile(rf"(?![{_JOINERS}])[{_CLASS}]|(?:^|(?<=[\x00-\x7f{_CLASS}]))[{_JOINERS}]")

INVISIBLE_ESCAPES: Final = {
    code: f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    for first, last in _RANGES
    for code in range(first, last + 1)
}
"""For `str.translate`: each of them as the escape that stands for it in a string."""


def find_invisible(line: str) -> tuple[int, str] | None:
    """Returns the place of the first such character in the line, and the character; None if there is none."""
    if line.isascii():
        return None
    found = _PATTERN.search(line)
    return None if found is None else (found.start(), found[0])


def describe(character: str) -> str:
    """Returns its code point and name, such as `U+200B ZERO WIDTH SPACE`."""
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()


def invisible_hint(text: str) -> str:
    """Returns ` (line 2, column 5 has U+200B ZERO WIDTH SPACE, which cannot be seen)` for the first of them; empty if
    there is none.

    It ends an error about the text, since that character may be the reason.
    """
    if text.isascii():
        return ""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if (found := find_invisible(line)) is not None:
            place, character = found
            return f" (line {number}, column {place + 1} has {describe(character)}, which cannot be seen)"
    return ""
