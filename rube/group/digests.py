"""Hashes of everything that was written, compared among members: equal commands must have made equal writes.

Each member tells the leader its own, with the next messages that go there. Once a majority of the voters have told one
and the same, the leader tells all of them that one, and whoever has another stops, also the leader. So who is wrong is
not the leader's to say, except where every voter has told and no majority agrees.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from rube.api.errors import DataLossError
from rube.group.group_pb2 import Digest
from rube.host import Write

# Compared at the indexes that are multiples of it.
EVERY_ENTRIES = 16
# So many of the newest are kept, of this member and of what others have told and this one has not reached.
KEPT = 256
_HASH_BYTES = 16
_V = TypeVar("_V")


class Digests:
    """The chain of hashes: each covers the one before it, the entry's index and its writes."""

    def __init__(self, name: str, member: int, chain: bytes = b"") -> None:
        self._name = name
        self._member = member
        self.chain = chain
        # What to tell the leader, and what to tell as the leader.
        self.newest: Digest | None = None
        self.agreed: Digest | None = None
        # Who has a say in that.
        self.voters: Sequence[int] = ()
        # By index: this member's; what others told of theirs; what was agreed on and this member has not reached.
        self._own: OrderedDict[int, bytes] = OrderedDict()
        self._told: OrderedDict[int, dict[int, bytes]] = OrderedDict()
        self._awaited: OrderedDict[int, bytes] = OrderedDict()

    def add(self, index: int, writes: Sequence[Write]) -> None:
        """The entry at `index` was applied. Raises DataLossError if a majority have another hash there."""
        digest = hashlib.blake2b(self.chain + index.to_bytes(8, "big"), digest_size=_HASH_BYTES)
        for key, value in writes:
            digest.update(len(key).to_bytes(4, "big") + key)
            digest.update(b"-" if value is None else b"+" + len(value).to_bytes(4, "big") + value)
        self.chain = digest.digest()
        if index % EVERY_ENTRIES == 0:
            _keep(self._own, index, self.chain)
            self.newest = Digest(index=index, hash=self.chain)
            if (awaited := self._awaited.pop(index, None)) is not None:
                self._compare(index, awaited)
            if index in self._told or self.voters == [self._member]:
                self._count(index)

    def told(self, member: int, digest: Digest) -> None:
        """A member tells its own, and this one leads. Raises DataLossError if a majority have another than this one."""
        if member not in self.voters or (self._own and digest.index < next(iter(self._own))):
            return
        _keep(self._told, digest.index, self._told.get(digest.index, {}) | {member: digest.hash})
        if digest.index in self._own:
            self._count(digest.index)

    def judge(self, agreed: Digest) -> None:
        """The leader tells what was agreed on. Raises DataLossError if this member has another."""
        if agreed.index in self._own:
            self._compare(agreed.index, agreed.hash)
        elif not self._own or agreed.index > next(reversed(self._own)):
            _keep(self._awaited, agreed.index, agreed.hash)

    def restart(self, chain: bytes) -> None:
        """The state was replaced by one with that hash."""
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
                "whoever looks into it, remove it (rube cluster remove) and let it join with an empty one",
                index=index,
            )


def _keep(kept: OrderedDict[int, _V], index: int, value: _V) -> None:
    kept[index] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
