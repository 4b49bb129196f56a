"""A reader of single SQLite pages, without the trees above them, for damaged files.

The format: https://www.sqlite.org/fileformat2.html. It knows only tables keyed by integer with one blob a row, such as
the engine's log. It trusts nothing: an impossible number ends the reading of whatever depends on it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rube.store.engines.sqlite_tables import PAGE_BYTES

Page = bytes
ReadPage = Callable[[int], Page | None]
"""Returns a page by its number, from 1 on; None if there is none."""

_LEAF = 0x0D
_LEAF_HEADER_BYTES = 8
_POINTER_BYTES = 2
# A leaf holds a payload of up to so many bytes; of a longer one only a part (section 1.6).
_LOCAL_BYTES_MAX = PAGE_BYTES - 35
_LOCAL_BYTES_MIN = (PAGE_BYTES - 12) * 32 // 255 - 23
_CHAINED_BYTES = PAGE_BYTES - 4
_VARINT_BYTES_MAX = 9
PAYLOAD_BYTES_MAX = 256 * 1024 * 1024
"""The most bytes of an engine's row."""
# The offset in the file's header of the first page of the freelist.
_FREE_PLACE = 32
_NUMBER = struct.Struct(">I")


class Cell(NamedTuple):
    """The place of a row on a leaf."""

    row_id: int
    place: int
    listed: bool
    """True if the page lists the row; False if bytes only look like one."""


def cells_of(page: Page) -> Iterator[Cell]:
    """Yields the rows on a page that is, or looks like, a leaf."""
    count = int.from_bytes(page[3:5], "big") if page[0] == _LEAF else 0
    lowest = len(page)
    number = 0
    while (pointer_at := _LEAF_HEADER_BYTES + number * _POINTER_BYTES) + _POINTER_BYTES <= min(lowest, len(page)):
        place = int.from_bytes(page[pointer_at : pointer_at + _POINTER_BYTES], "big")
        number += 1
        if not pointer_at + _POINTER_BYTES <= place < len(page):
            continue
        lowest = min(lowest, place)
        _, after = _varint(page, place)
        row_id, after = _varint(page, after)
        if after < len(page):
            yield Cell(row_id - (1 << 64) if row_id >> 63 else row_id, place, number <= count)


def value_at(page: Page, place: int, read_page: ReadPage) -> bytes | None:
    """Returns the blob of the row whose cell begins there; None if there cannot be one."""
    size, after = _varint(page, place)
    _, after = _varint(page, after)
    if not 0 < size <= PAYLOAD_BYTES_MAX:
        return None
    payload = _payload(page, after, size, read_page)
    return None if payload is None else payload[_record_header_bytes(size) :]


def _payload(page: Page, start: int, size: int, read_page: ReadPage) -> bytes | None:
    if size <= _LOCAL_BYTES_MAX:
        return page[start : start + size] if start + size <= len(page) else None
    local = _LOCAL_BYTES_MIN + (size - _LOCAL_BYTES_MIN) % _CHAINED_BYTES
    if local > _LOCAL_BYTES_MAX:
        local = _LOCAL_BYTES_MIN
    end = start + local
    if end + _NUMBER.size > len(page):
        return None
    parts, left = [page[start:end]], size - local
    (following,) = _NUMBER.unpack_from(page, end)
    while left > 0:
        chained = read_page(following) if following else None
        if chained is None:
            return None
        (following,) = _NUMBER.unpack_from(chained)
        parts.append(chained[_NUMBER.size : _NUMBER.size + left])
        left -= _CHAINED_BYTES
    return b"".join(parts)


def _record_header_bytes(size: int) -> int:
    """Returns the header's size in a record of so many bytes: its own length, a NULL, and the blob's length as 2 n +
    12."""
    for type_bytes in range(1, _VARINT_BYTES_MAX):
        header = 2 + type_bytes
        if size >= header and _varint_bytes(2 * (size - header) + 12) == type_bytes:
            return header
    return 3


def _varint_bytes(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


def _varint(page: Page, place: int) -> tuple[int, int]:
    """Returns a number and the offset of its end; past the page's end the number is 0."""
    number = 0
    for index in range(_VARINT_BYTES_MAX):
        if place + index >= len(page):
            return 0, len(page)
        byte = page[place + index]
        if index == _VARINT_BYTES_MAX - 1:
            return number << 8 | byte, place + _VARINT_BYTES_MAX
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + index + 1
    raise AssertionError("the last byte returns")


def free_pages(read_page: ReadPage, pages: int) -> set[int] | None:
    """Returns the pages on the freelist, whose content is obsolete; None if the list is damaged."""
    first = read_page(1)
    if first is None:
        return None
    trunk, expected = struct.unpack_from(">II", first, _FREE_PLACE)
    found: set[int] = set()
    while trunk:
        page = read_page(trunk) if trunk <= pages and trunk not in found else None
        if page is None:
            return None
        found.add(trunk)
        trunk, leaves = struct.unpack_from(">II", page)
        if leaves > PAGE_BYTES // 4 - 2:
            return None
        listed = struct.unpack_from(f">{leaves}I", page, 8)
        if any(not 1 < number <= pages or number in found for number in listed):
            return None
        found.update(listed)
    return found if len(found) == expected else None
