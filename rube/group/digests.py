"""Hashes of everything that was written, compared among members: equal commands must have made equal writes.

Each member sends its hash to the leader, with its next messages. Once a majority of the voters have reported the same
hash, the leader sends it to all of them, and every member with another hash stops, the leader included. So the leader
does not decide which member is wrong, except where every voter has reported and no majority agrees.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from rube.api.errors import DataLossError
from rube.group.group_pb2 import Digest
from rube.host import Write

EVERY_ENTRIES = 16
"""Hashes are compared at the multiples of this index."""
HASHES_MAX = 256
"""The newest hashes to remember: this member's, and those reported for indexes that it has not reached."""
_HASH_BYTES = 16
_V = TypeVar("_V")


class Digests:
    """A chain of hashes: each covers the one before it, the entry's index and its writes."""

    def __init__(self, name: str, member: int, chain: bytes = b"") -> None:
        self._name = name
        self._member = member
        self.chain = chain
        # The newest hash to send to the leader, and the agreed one that a leader sends to all.
        self.newest: Digest | None = None
        self.agreed: Digest | None = None
        # The voters.
        self.voters: Sequence[int] = ()
        # By index: this member's hashes; those that others have reported; agreed ones that this member has not reached.
        self._own: OrderedDict[int, bytes] = OrderedDict()
        self._told: OrderedDict[int, dict[int, bytes]] = OrderedDict()
        self._awaited: OrderedDict[int, bytes] = OrderedDict()

    def add(self, index: int, writes: Sequence[Write]) -> None:
        """Adds the entry that was applied at `index`. Raises DataLossError if a majority have another hash there."""
        digest = hashlib.blake2b(self.chain + index.to_bytes(8, "big"), digest_size=_HASH_BYTES)
        for key, value in writes:
            digest.update(len(key).to_bytes(4, "big") + key)
            digest.update(b"-" if value is None else b"+" + len(value).to_bytes(4, "big") + value)
        self.chain = digest.digest()
        if index % EVERY_ENTRIES == 0:
            _remember(self._own, index, self.chain)
            self.newest = Digest(index=index, hash=self.chain)
            if (awaited := self._awaited.pop(index, None)) is not None:
                self._compare(index, awaited)
            if index in self._told or self.voters == [self._member]:
                self._count(index)

    def told(self, member: int, digest: Digest) -> None:
        """Takes the hash of another member, at the leader. Raises DataLossError if a majority have another hash than
        this member."""
        if member not in self.voters or (self._own and digest.index < next(iter(self._own))):
            return
        _remember(self._told, digest.index, self._told.get(digest.index, {}) | {member: digest.hash})
        if digest.index in self._own:
            self._count(digest.index)

    def judge(self, agreed: Digest) -> None:
        """Takes the agreed hash from the leader. Raises DataLossError if this member has another."""
        if agreed.index in self._own:
            self._compare(agreed.index, agreed.hash)
        elif not self._own or agreed.index > next(reversed(self._own)):
            _remember(self._awaited, agreed.index, agreed.hash)

    def restart(self, chain: bytes) -> None:
        """Begins again at the hash of a state that has replaced this one."""
        self.chain, self.newest, self.agreed = chain, None, None
        self._own.clear()
        self._told.clear()
        self._awaited.clear()

    def _count(self, index: int) -> None:
        if self.agreed is not None and self.agreed.index >= index:
            return
        told = {**self._told.get(index, {}), self._member: self._own[index]}
        votes = [told[voter] for voter in self.voters if voter in told]
        chain, count = Counter(votes).most_common(1)[0] if votes else (b"", 0)
        if count <= len(self.voters) // 2:
            if len(votes) < len(self.voters):
                return
            chain = self._own[index]
        self.agreed = Digest(index=index, hash=chain)
        self._compare(index, chain)

    def _compare(self, index: int, agreed: bytes) -> None:
        if self._own[index] != agreed:
            raise DataLossError(
                f"member {self._name!r} has another state at entry {index} than its group: it stops. Keep its disk for "
                "an investigation, remove it (rube cluster remove) and let it join with an empty one",
                index=index,
            )


def _remember(hashes: OrderedDict[int, _V], index: int, value: _V) -> None:
    hashes[index] = value
    while len(hashes) > HASHES_MAX:
        hashes.popitem(last=False)
