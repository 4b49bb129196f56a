"""Hashes of everything that was written, compared between members: equal commands must have made equal writes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeVar

from rube.api.errors import DataLossError
from rube.host import Write
from rube.replica.replica_pb2 import Digest

# Compared at the indexes that are multiples of it.
EVERY_ENTRIES = 64
# So many of the newest are kept, of this member and of what others have told and this one has not reached.
KEPT = 64
_HASH_BYTES = 16
_V = TypeVar("_V")


class Digests:
    """The chain of hashes: each covers the one before it, the entry's index and its writes."""

    def __init__(self, name: str, chain: bytes = b"") -> None:
        self._name = name
        self.chain = chain
        # What to tell the others.
        self.newest: Digest | None = None
        self._own: OrderedDict[int, bytes] = OrderedDict()
        self._told: OrderedDict[int, tuple[int, bytes]] = OrderedDict()

    def add(self, index: int, writes: Sequence[Write]) -> None:
        """The entry at `index` was applied. Raises DataLossError if another member had another hash there."""
        digest = hashlib.blake2b(self.chain + index.to_bytes(8, "big"), digest_size=_HASH_BYTES)
        for key, value in writes:
            digest.update(len(key).to_bytes(4, "big") + key)
            digest.update(b"-" if value is None else b"+" + len(value).to_bytes(4, "big") + value)
        self.chain = digest.digest()
        if index % EVERY_ENTRIES == 0:
            _keep(self._own, index, self.chain)
            self.newest = Digest(index=index, hash=self.chain)
            if (told := self._told.pop(index, None)) is not None:
                self._compare(index, *told)

    def told(self, member: int, digest: Digest) -> None:
        """The leader's hash. Raises DataLossError if it is not ours."""
        if digest.index in self._own:
            self._compare(digest.index, member, digest.hash)
        elif not self._own or digest.index > next(reversed(self._own)):
            _keep(self._told, digest.index, (member, digest.hash))

    def restart(self, chain: bytes) -> None:
        """The state was replaced by one with that hash."""
        self.chain, self.newest = chain, None
        self._own.clear()
        self._told.clear()

    def _compare(self, index: int, member: int, chain: bytes) -> None:
        if self._own[index] != chain:
            raise DataLossError(
                f"member {self._name!r} has another state at entry {index} than the leader, member {member:x}: it "
                "stops. Keep its disk for whoever looks into it, remove it (rube cluster remove) and let it join "
                "with an empty one",
                index=index,
            )


def _keep(kept: OrderedDict[int, _V], index: int, value: _V) -> None:
    kept[index] = value
    while len(kept) > KEPT:
        kept.popitem(last=False)
