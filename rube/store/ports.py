"""The port to versioned objects: the promises of every store, whatever holds its bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rube.api.errors import RubeError


class Record(NamedTuple):
    """One key's value as of `mod_revision`."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


class Page(NamedTuple):
    """A part of a range, in key order, as the store was at `revision`; `more` if the limit cut it."""

    records: list[Record]
    revision: int
    more: bool


class Lookup(NamedTuple):
    """The records of some keys, in their order, as the store was at `revision`; None for a missing one."""

    records: list[Record | None]
    revision: int
    serializable: bool = False
    """True if `revision` may be older than the newest, which a serializable read allows."""


class Compare(NamedTuple):
    """A condition: the key's last write was at `mod_revision`; 0: it does not exist."""

    key: bytes
    mod_revision: int


class Op(NamedTuple):
    """A put, or with a value of None a delete. A delete of an absent key is no change. No key twice in one Txn."""

    key: bytes
    value: bytes | None


class Txn(NamedTuple):
    """A transaction: all ops at one revision if all compares hold, otherwise nothing."""

    ops: tuple[Op, ...]
    compares: tuple[Compare, ...] = ()


class Change(NamedTuple):
    """One op that was committed. `record.value` is empty for a delete; `record.create_revision` is 0 then."""

    record: Record
    deleted: bool
    previous: Record | None
    """The value before this change; None if there was none."""


class ChangeBatch(NamedTuple):
    """All changes up to `revision` that the watch has not yet seen; never a part of a revision. Empty: a bookmark."""

    changes: list[Change]
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLimits:
    """The limits of one transaction; every store takes 100 objects and 1 MiB."""

    txn_ops_max: int
    """Keys that are written. Twice as many may be compared: a new object, and its namespace."""
    txn_bytes_max: int
    value_bytes_max: int


class Store(Protocol):
    """Versioned keys with one store-wide revision that strictly grows with each commit (gaps are legal).

    Reads are consistent: they see every commit that was acknowledged before they began.
    """

    @property
    def limits(self) -> StoreLimits: ...

    @property
    def store_id(self) -> str:
        """The id of the history: a new one after a wipe or a restore."""
        ...

    @property
    def revision(self) -> int:
        """The revision of the newest commit; 0 in an empty store."""
        ...

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        """Returns the records of the keys, at most `limits.txn_ops_max` of them, all as of one and the newest revision.

        Waits until the store has reached `min_revision`. A `serializable` read, in etcd's word, may be of an older
        revision, which is faster, and enough for a commit that compares what was read. Raises RevisionAheadError.
        """
        ...

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        """Returns the records with start <= key < end (end None: just the key `start`), as of `revision` (0: newest).

        Waits until the store has reached `min_revision`. Raises CompactedError, RevisionAheadError.
        """
        ...

    async def commit(self, txn: Txn) -> int:
        """Returns the revision of the commit, durable when it returns. Without effective ops: the current revision.

        Raises AbortedError (metadata `key` and its current `revision`) if a compare fails, ResourceExhaustedError past
        a limit or on a full disk, DataLossError if durability is lost.
        """
        ...

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        """Yields every change of start <= key < end after that revision: ordered, unique, reliable, atomic.

        Raises CompactedError (metadata `oldest_revision`) and RevisionAheadError at the first step. A slow reader costs
        the store a bounded buffer and is then served from the log; CompactedError if compaction has overtaken it. An
        empty batch is a bookmark: sent once at the start when caught up, and when the revision has grown without
        matching changes (at most every `bookmark_interval_s`). Closing the iterator ends the watch.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forgets states that are visible only before `revision`. A watch can resume from `revision` and later."""
        ...

    async def close(self) -> None: ...

    async def failed(self) -> RubeError:
        """Returns if the store fails by itself, outside of any call: its process should end then, too."""
        ...
