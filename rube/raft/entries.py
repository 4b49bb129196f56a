"""Lists of entries: their identity, their sizes, and as many of them as fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rube.raft.raft_pb2 import Entry

NO_LIMIT = 2**64 - 1
"""A number above every size, term and index."""


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """The identity of an entry: only one leader writes in a term, and it writes an index once (paper section 5.3).

    Ids compare by term, then index: of two logs, the one whose last entry's id is greater is more up-to-date (section
    5.4.1).
    """

    term: int
    index: int


def entry_id(entry: Entry) -> EntryId:
    """Returns the entry's identity."""
    return EntryId(entry.term, entry.index)


# Entries are counted in pieces of this length, so that a long log costs no more than what fits of it.
_PIECE = 64


def size_bytes(entries: Iterable[Entry]) -> int:
    """Returns the entries' size on the wire, without their framing."""
    return sum(map(Entry.ByteSize, entries))


def payload_bytes(entries: Iterable[Entry]) -> int:
    """Returns the size of the entries' data for the state machine; that of a new leader's empty entry is 0."""
    return sum(len(entry.data) for entry in entries)


def fitting(entries: list[Entry], low: int, high: int, bytes_max: int) -> list[Entry]:
    """Returns as many of `entries[low:high]`, from the front, as fit into `bytes_max`; at least one if there is one."""
    if bytes_max >= NO_LIMIT:
        return entries[low:high]
    left = bytes_max
    for start in range(low, high, _PIECE):
        end = min(start + _PIECE, high)
        size = size_bytes(entries[start:end])
        if size > left:
            return entries[low : max(_fit(entries, start, left), low + 1)]
        left -= size
    return entries[low:high]


def _fit(entries: list[Entry], start: int, left: int) -> int:
    """Returns the first position from `start` on whose entry does not fit into `left` bytes any more; there is one."""
    while (left := left - entries[start].ByteSize()) >= 0:
        start += 1
    return start
