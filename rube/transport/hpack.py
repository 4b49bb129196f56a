"""HPACK as a client needs it that keeps no table (RFC 7541): plain texts out; static table, literals and Huffman in.

`SETTINGS_HEADER_TABLE_SIZE` 0 tells the server so, before it answers anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Final

TABLE_BYTES_MAX: Final = 0
"""The dynamic table that this decoder keeps."""
INTEGER_BYTES_MAX: Final = 5

# RFC 7541, appendix A: names without a value, after those with one.
_WITH_VALUES: Final = (
    ":authority=|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|"
    ":status=206|:status=304|:status=400|:status=404|:status=500|accept-charset=|accept-encoding=gzip, deflate"
)
_NAMES: Final = (
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
    "content-disposition content-encoding content-language content-length content-location content-range content-type "
    "cookie date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
    "last-modified link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after "
    "server set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate"
)
# Appendix B: the bits of each symbol's code; the last is the end of the string. The code is canonical: codes of one
# length follow each other in the order of symbols, and shorter ones come first.
_LENGTHS: Final = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606"
    "060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605060506060605070706060605"
    "06070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715"
    "1716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_END: Final = 256


class HpackError(ValueError):
    """A block of headers that does not decode, or that needs a table that was never offered."""


def encode(headers: Iterable[tuple[str, str]]) -> bytes:
    """Returns a block of headers, each a literal without an index."""
    out = bytearray()
    for name, value in headers:
        out.append(0)
        for text in (name.encode(), value.encode()):
            out += _encoded_integer(len(text)) + text
    return bytes(out)


def decode(block: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields the headers of a block: name and value. Raises HpackError."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            index, at = _integer(block, at, 7)
            name, value = _entry(index)
            yield name, value
        elif first & 0xE0 == 0x20:
            size, at = _integer(block, at, 5)
            if size > TABLE_BYTES_MAX:
                raise HpackError(f"a table of {size} bytes was never offered")
        else:
            index, at = _integer(block, at, 6 if first & 0x40 else 4)
            if index:
                name = _entry(index)[0]
            else:
                raw, at = _string(block, at)
                name = raw.decode("ascii", errors="replace")
            value, at = _string(block, at)
            yield name, value


def _entry(index: int) -> tuple[str, bytes]:
    table = _static_table()
    if not 0 < index <= len(table):
        raise HpackError(f"there is no entry {index} in the table")
    return table[index - 1]


@cache
def _static_table() -> list[tuple[str, bytes]]:
    pairs = (each.rpartition("=") for each in _WITH_VALUES.split("|"))
    return [(name, value.encode()) for name, _, value in pairs] + [(name, b"") for name in _NAMES.split()]


def _encoded_integer(value: int) -> bytes:
    """Returns an integer after seven bits' prefix (section 5.1)."""
    if value < 0x7F:
        return bytes([value])
    out, value = bytearray([0x7F]), value - 0x7F
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """Returns the integer there, which begins in the low `bits` of its first byte, and where the next thing begins."""
    if at >= len(block):
        raise HpackError("it ends early")
    limit = (1 << bits) - 1
    value = block[at] & limit
    if value < limit:
        return value, at + 1
    for count, byte in enumerate(block[at + 1 : at + 1 + INTEGER_BYTES_MAX]):
        value += (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value, at + 2 + count
    raise HpackError("an integer ends early, or is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    size, begin = _integer(block, at, 7)
    raw = block[begin : begin + size]
    if len(raw) != size:
        raise HpackError("a text ends early")
    return (_from_huffman(raw) if block[at] & 0x80 else raw), begin + size


@cache
def _symbols() -> dict[tuple[int, int], int]:
    """Returns the symbol of each code, by its length and value."""
    found: dict[tuple[int, int], int] = {}
    code = length = 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda each: (_LENGTHS[each], each)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        found[length, code] = symbol
        code += 1
    return found


def _from_huffman(raw: bytes) -> bytes:
    symbols = _symbols()
    out = bytearray()
    code = length = 0
    for byte in raw:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            if (symbol := symbols.get((length, code))) is not None:
                if symbol == _END:
                    raise HpackError("a text in Huffman's code has an end within it")
                out.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("a text in Huffman's code ends early")
    return bytes(out)
