"""Text as systemd accepts it: UTF-8 without surrogates and noncharacters (src/basic/utf8.c). Pure."""

from __future__ import annotations

import re
from typing import Final

_PLANE_ENDS = "".join(f"{chr(plane << 16 | 0xFFFE)}-{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
_INVALID: Final = re.compile(f"[\ud800-\udfff\ufdd0-\ufdef{_PLANE_ENDS}]")


def invalid_character(text: str) -> re.Match[str] | None:
    """Returns the first character that systemd refuses anywhere in a file, with its position; None if there is none."""
    return _INVALID.search(text)


def decode_text(data: bytes) -> str:
    """Returns the text of the bytes. Raises ValueError, which says where they are not text."""
    text = data.decode()  # UnicodeDecodeError is a ValueError
    if found := invalid_character(text):
        raise ValueError(f"U+{ord(found.group()):04X} at position {found.start()} is no character")
    return text
