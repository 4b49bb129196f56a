"""Escapes in strings: https://protobuf.dev/reference/protobuf/textformat-spec/#string.

Their text is processed piece by piece: the library's way takes over a hundred bytes of memory for each byte.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<char>[abfnrtv?\\'\"]))"
    r"|(?P<bad>\\(?:[0-7]{1,3}|.?))"
)
_CHARS: Final = {
    "a": b"\a",
    "b": b"\b",
    "f": b"\f",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
    "?": b"?",
    "\\": b"\\",
    "'": b"'",
    '"': b'"',
}
_SURROGATES: Final = range(0xD800, 0xE000)
_HIGH: Final = range(0xD800, 0xDC00)
_LOW: Final = range(0xDC00, 0xE000)


class EscapeError(ValueError):
    """An invalid escape, and its place in the text."""

    def __init__(self, what: str, place: int) -> None:
        super().__init__(what)
        self.place = place


def unescape(text: str) -> bytes:
    """Returns the bytes of the text between two quotes. Raises EscapeError."""
    if "\\" not in text:
        return text.encode()
    out = bytearray()
    end, high = 0, 0
    for escape in _ESCAPE.finditer(text):
        start = escape.start()
        if high and start != end:
            raise EscapeError("a high surrogate without a low one", end)
        out += text[end:start].encode()
        end = escape.end()
        code = _code_point(escape)
        if high and code not in _LOW:
            raise EscapeError("a high surrogate without a low one", start)
        if code is None:
            out += _plain(escape)
        elif code in _HIGH:
            high = code
        elif high:
            out += chr(0x10000 + ((high - 0xD800) << 10) + code - 0xDC00).encode()
            high = 0
        elif code in _SURROGATES or code > 0x10FFFF:
            raise EscapeError(f"{escape[0]!r} is no character", start)
        else:
            out += chr(code).encode()
    if high:
        raise EscapeError("a high surrogate without a low one", end)
    out += text[end:].encode()
    return bytes(out)


def _code_point(escape: re.Match[str]) -> int | None:
    digits = escape["short"] or escape["long"]
    return int(digits, 16) if digits else None


def _plain(escape: re.Match[str]) -> bytes:
    if escape["char"]:
        return _CHARS[escape["char"]]
    if escape["hex"]:
        return bytes([int(escape["hex"], 16)])
    if escape["octal"] and (value := int(escape["octal"], 8)) <= 0xFF:
        return bytes([value])
    raise EscapeError(f"'{escape[0]}' is not an escape; write a backslash as \\\\", escape.start())
