"""The keyspace of an etcd: every key's versions since the last compaction. Synchronous and pure.

Returned messages are shared: copy one before you change it.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sortedcontainers import SortedDict

from rube.sim.etcd import errors
from rube.store.etcd.kv_pb2 import KeyValue

FROM_KEY = b"\0"
"""As a range's end: all keys from its beginning on."""
VERSION_BYTES = 64
"""About how many bytes etcd's database takes for a version besides its key and value."""


class Version(NamedTuple):
    """One write of one key; `kv.mod_revision` and `sub` order all writes. A delete's `kv` has key and revision."""

    sub: int
    kv: KeyValue
    deleted: bool

    @property
    def size_bytes(self) -> int:
        return len(self.kv.key) + len(self.kv.value) + VERSION_BYTES


class Keyspace:
    """Every version, by key and by revision. The first write is at revision 2, as in etcd."""

    def __init__(self, *, keeps_compacted_deletes: bool = False) -> None:
        """`keeps_compacted_deletes`: a delete at the compacted revision can still be watched from there."""
        self._keeps_compacted_deletes = keeps_compacted_deletes
        # Invariant: both hold the same versions, each list in the order of (mod_revision, sub).
        self._by_key: SortedDict[bytes, list[Version]] = SortedDict()
        self._log: list[Version] = []
        self._written: list[Version] = []
        self.revision = 1
        self.compact_revision = -1
        # Bytes of the kept versions, and of the database file, which only `defragment` makes smaller.
        self.size_in_use_bytes = 0
        self.size_bytes = 0

    # Reading

    def check_readable(self, revision: int) -> None:
        """Raises EtcdError for a revision that is not there yet or no more. 0 and less: the newest."""
        if revision > self.revision:
            raise errors.future_revision()
        if 0 < revision < self.compact_revision:
            raise errors.compacted()

    def get(self, key: bytes) -> KeyValue | None:
        """Returns the newest value, including that of the write under way."""
        versions = self._by_key.get(key)
        return None if not versions or versions[-1].deleted else versions[-1].kv

    def range(self, key: bytes, end: bytes, revision: int = 0) -> list[KeyValue]:
        """The values of a range (empty `end`: just `key`) as of a revision; 0: with the write under way."""
        at = revision if revision > 0 else self.revision + 1
        found = (_at(versions, at) for versions in self._ranged(key, end))
        return [version.kv for version in found if version is not None]

    def versions_from(self, revision: int) -> list[Version]:
        """Every write since that revision, in order, of those that are kept."""
        return self._log[bisect_left(self._log, revision, key=_mod_revision) :]

    def previous(self, version: Version) -> KeyValue | None:
        """Returns the value that a write replaced; None also if that is compacted."""
        before = version.kv.mod_revision - 1
        if before < max(self.compact_revision, 1):
            return None
        found = _at(self._by_key.get(version.kv.key, []), before)
        return found.kv if found is not None else None

    def hash(self, revision: int) -> int:
        """A checksum of everything that is kept up to that revision."""
        checksum = 0
        for version in self._log:
            if version.kv.mod_revision <= revision:
                checksum = zlib.crc32(version.kv.SerializeToString(deterministic=True), checksum)
        return checksum

    # Writing: `put` and `delete` as often as need be, then `commit`

    @property
    def writing(self) -> bool:
        """True if a write is under way that has changed something."""
        return bool(self._written)

    def put(self, key: bytes, value: bytes, lease: int) -> None:
        before, revision = self.get(key), self.revision + 1
        self._write(
            KeyValue(
                key=key,
                value=value,
                lease=lease,
                create_revision=before.create_revision if before else revision,
                mod_revision=revision,
                version=before.version + 1 if before else 1,
            ),
            deleted=False,
        )

    def delete(self, key: bytes, end: bytes) -> list[KeyValue]:
        """Deletes the keys, and returns the deleted pairs, in the order of the keys."""
        gone = self.range(key, end)
        for kv in gone:
            self._write(KeyValue(key=kv.key, mod_revision=self.revision + 1), deleted=True)
        return gone

    def commit(self) -> Sequence[Version]:
        """Ends a write: all of it is one revision, or none if it changed nothing. Returns the written versions."""
        written, self._written = self._written, []
        if written:
            self.revision += 1
        return written

    def compact(self, revision: int) -> list[Version]:
        """Forgets the versions that only reads before `revision` could see, and returns them. Raises EtcdError."""
        if revision <= self.compact_revision:
            raise errors.compacted()
        if revision > self.revision:
            raise errors.future_revision()
        self.compact_revision = revision
        places: set[tuple[int, int]] = set()
        for key in list(self._by_key):
            versions: list[Version] = self._by_key[key]
            count = bisect_right(versions, revision, key=_mod_revision)
            if count and not self._goes(versions[count - 1]):
                count -= 1
            places.update((version.kv.mod_revision, version.sub) for version in versions[:count])
            del versions[:count]
            if not versions:
                del self._by_key[key]
        gone = [version for version in self._log if (version.kv.mod_revision, version.sub) in places]
        self._log = [version for version in self._log if (version.kv.mod_revision, version.sub) not in places]
        self.size_in_use_bytes -= sum(version.size_bytes for version in gone)
        return gone

    def load(self, versions: Iterable[Version], compact_revision: int) -> None:
        """Takes up what another keyspace has kept, in the order of its writing. For an empty one."""
        for version in versions:
            self._keep(version)
        last = self._log[-1].kv.mod_revision if self._log else 1
        self.revision, self.compact_revision = max(last, compact_revision), compact_revision

    def defragment(self) -> None:
        self.size_bytes = self.size_in_use_bytes

    # Inside

    def _goes(self, newest: Version) -> bool:
        """Returns whether a key's newest write up to the compacted revision can be forgotten too."""
        kept = self._keeps_compacted_deletes and newest.kv.mod_revision == self.compact_revision
        return newest.deleted and not kept

    def _write(self, kv: KeyValue, *, deleted: bool) -> None:
        version = Version(len(self._written), kv, deleted)
        self._written.append(version)
        self._keep(version)

    def _keep(self, version: Version) -> None:
        self._log.append(version)
        self._by_key.setdefault(version.kv.key, []).append(version)
        self.size_in_use_bytes += version.size_bytes
        self.size_bytes = max(self.size_bytes, self.size_in_use_bytes)

    def _ranged(self, key: bytes, end: bytes) -> Iterator[list[Version]]:
        if not end:
            yield self._by_key.get(key, [])
        elif end == FROM_KEY or key < end:
            last = None if end == FROM_KEY else end
            for found in self._by_key.irange(key, last, inclusive=(True, False)):
                yield self._by_key[found]


def _mod_revision(version: Version) -> int:
    return version.kv.mod_revision


def _at(versions: list[Version], revision: int) -> Version | None:
    count = bisect_right(versions, revision, key=_mod_revision)
    if not count or versions[count - 1].deleted:
        return None
    return versions[count - 1]
