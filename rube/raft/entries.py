"""Entries by the handful: their identity, their sizes, and as many of them as fit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rube.raft.raft_pb2 import Entry

# Above every size, term and index.
NO_LIMIT = 2**64 - 1


@dataclass(frozen=True, slots=True, order=True)
class EntryId:
    """What identifies an entry: only one leader writes in a term, and it writes an index once (paper section 5.3).

    Ids compare by term, then index: of two logs, the one whose last entry's id is greater is more up-to-date (section
    5.4.1).
    """

    term: int
    index: int


def entry_id(entry: Entry) -> EntryId:
    """The entry's identity."""
    return EntryId(entry.term, entry.index)


def size_bytes(entries: Iterable[Entry]) -> int:
    """The entries' size on the wire, without their framing."""
    return sum(entry.ByteSize() for entry in entries)


def payload_bytes(entries: Iterable[Entry]) -> int:
    """The size of what the entries carry for the state machine; that of a new leader's empty entry is 0."""
    return sum(len(entry.data) for entry in entries)


def longest_prefix(entries: list[Entry], bytes_max: int) -> list[Entry]:
    """As many entries as fit into `bytes_max`, but at least one of those there are."""
    if bytes_max >= NO_LIMIT:
        return entries
    total = 0
    for count, entry in enumerate(entries):
        total += entry.ByteSize()
        if total > bytes_max and count > 0:
            return entries[:count]
    return entries
