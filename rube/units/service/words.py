"""Words of a line as systemd parts them (src/basic/extract-word.c, escape.c): blanks, quotes, escapes. Pure, on bytes.

Bytes, because an escape such as `\\xff` stands for a byte that need not be UTF-8.
"""

from __future__ import annotations

import re
from typing import Final

BLANKS: Final = b" \t\n\r"
_QUOTES: Final = b"\"'"
# Within which quote what stands for itself.
_RUNS: Final = {
    0: re.compile(rb"[^\\ \t\n\r\"']+"),
    ord("'"): re.compile(rb"[^\\']+"),
    ord('"'): re.compile(rb'[^\\"]+'),
}
_BACKSLASH: Final = ord("\\")
_NAMED: Final = {
    ord(letter): value.encode() for letter, value in zip("abfnrtv\\\"'s", "\a\b\f\n\r\t\v\\\"' ", strict=True)
}
_CODE_POINTS: Final = {ord("u"): 4, ord("U"): 8}


class UnbalancedQuoteError(ValueError):
    """A quote that is opened and never closed, or a backslash at the very end."""


def skip_blanks(line: bytes, at: int) -> int:
    while at < len(line) and line[at] in BLANKS:
        at += 1
    return at


def next_word(line: bytes, at: int) -> tuple[bytes, int]:
    """Returns the word that begins at `at` (no blank), unquoted and unescaped, and where the next one begins.

    An invalid escape stays as it is, as systemd leaves it (with a warning). Raises UnbalancedQuoteError.
    """
    out = bytearray()
    quote, start = 0, at
    while at < len(line) and (quote or line[at] not in BLANKS):
        if run := _RUNS[quote].match(line, at):
            out += run.group()
            at = run.end()
            continue
        byte = line[at]
        if byte == _BACKSLASH:
            text, at = _escape(line, at)
            out += text
            continue
        if quote and byte == quote:
            quote = 0
        else:
            assert byte in _QUOTES, "runs take all others"
            quote = byte
        at += 1
    if quote:
        raise UnbalancedQuoteError(
            f"the quote {chr(quote)} opened in {line[start:].decode(errors='replace')!r} is never closed"
        )
    return bytes(out), skip_blanks(line, at)


def split_value(value: bytes) -> list[bytes]:
    """Returns the words of a variable's value, for `$NAME` as a word of its own: a backslash keeps the next byte as it
    is.

    An open quote ends with the value.
    """
    words: list[bytes] = []
    at = skip_blanks(value, 0)
    while at < len(value):
        out = bytearray()
        quote = 0
        while at < len(value) and (quote or value[at] not in BLANKS):
            byte = value[at]
            if byte == _BACKSLASH:
                out += value[at + 1 : at + 2]
                at += 1
            elif quote and byte == quote:
                quote = 0
            elif not quote and byte in _QUOTES:
                quote = byte
            else:
                out.append(byte)
            at += 1
        words.append(bytes(out))
        at = skip_blanks(value, at)
    return words


def _escape(line: bytes, at: int) -> tuple[bytes, int]:
    """Returns the bytes of the escape at `at`, and the position after it."""
    if at + 1 == len(line):
        raise UnbalancedQuoteError("it ends in a backslash: write \\\\ for a backslash")
    kind = line[at + 1]
    if kind in _NAMED:
        return _NAMED[kind], at + 2
    if kind == ord("x"):
        number, after = _number(line, at + 2, 2, 16), at + 4
        text = None if number is None else bytes((number,))
    elif kind in b"01234567":
        number, after = _number(line, at + 1, 3, 8), at + 4
        text = None if number is None or number > 255 else bytes((number,))
    elif kind in _CODE_POINTS:
        number, after = _number(line, at + 2, _CODE_POINTS[kind], 16), at + 2 + _CODE_POINTS[kind]
        text = _code_point(number, strict=kind == ord("U"))
    else:
        number, text = None, None
    if not number or text is None:
        return line[at : at + 2], at + 2
    return text, after


def _number(line: bytes, at: int, count: int, base: int) -> int | None:
    digits = line[at : at + count]
    if len(digits) < count or any(
        digit not in b"0123456789abcdefABCDEF"[: 22 if base == 16 else 8] for digit in digits
    ):
        return None
    return int(digits, base)


def _code_point(number: int | None, *, strict: bool) -> bytes | None:
    r"""Returns UTF-8. `\u` takes what `\U` refuses: surrogates and noncharacters."""
    if number is None or number > 0x10FFFF:
        return None
    unfit = 0xD800 <= number < 0xE000 or 0xFDD0 <= number <= 0xFDEF or number & 0xFFFE == 0xFFFE
    return None if strict and unfit else chr(number).encode("utf-8", "surrogatepass")
