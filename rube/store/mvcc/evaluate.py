"""The effect of transactions, as a pure function of the index: replicas must agree on it to the byte."""

from __future__ import annotations

from typing import Protocol

from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError, RubeError
from rube.store.mvcc.index import Current
from rube.store.mvcc.log import OPS_PER_REVISION_MAX, SUB_BITS, Row, new_row, position_of
from rube.store.ports import StoreLimits, Txn

KEY_BYTES_MAX = 4096


class Newest(Protocol):
    """The state that a group of transactions depends on: the newest put of each key that they name."""

    def current(self, key: bytes) -> Current | None:
        """Returns the key's newest put; None if the key does not exist."""
        ...


class Group:
    """Transactions that are committed together, each at its own revision and each seeing those before it.

    The index does not change here: after the rows are durable the caller appends them to it.
    """

    def __init__(self, index: Newest, revision: int) -> None:
        self._index = index
        # The newest row of each key that this group has written so far; None: deleted.
        self._written: dict[bytes, Row | None] = {}
        self.revision = revision
        self.rows: list[Row] = []

    def add(self, txn: Txn) -> int | AbortedError:
        """Returns the transaction's revision (the one before it if it changes nothing), or the error that refuses
        it."""
        written, rows, newest = self._written, self.rows, self._index.current
        for key, mod_revision in txn.compares:
            current = written[key] if key in written else newest(key)
            actual = current.position >> SUB_BITS if current else 0
            if actual != mod_revision:
                return AbortedError(
                    f"key {_show(key)} was last written at revision {actual}, not {mod_revision}: read it again",
                    key=_show(key),
                    revision=actual,
                )
        revision = self.revision + 1
        first = position = position_of(revision)
        for key, value in txn.ops:
            current = written[key] if key in written else newest(key)
            if value is not None:
                create_revision = current.create_revision if current else revision
                row = written[key] = new_row((position, key, value, create_revision))
                rows.append(row)
            elif current is not None:
                written[key] = None
                rows.append(new_row((position, key, None, 0)))
            else:
                continue
            position += 1
        if position > first:
            assert position - first <= OPS_PER_REVISION_MAX
            self.revision = revision
        return self.revision


def check_txn(txn: Txn, limits: StoreLimits) -> int:
    """Returns the bytes of its keys and values.

    Raises InvalidArgumentError or ResourceExhaustedError for a transaction that no state could make acceptable.
    """
    if len(txn.ops) > limits.txn_ops_max:
        raise _past("txn_ops_max", len(txn.ops), limits.txn_ops_max, "split the transaction")
    if len(txn.compares) > 2 * limits.txn_ops_max:
        raise _past("txn_ops_max (two compares each)", len(txn.compares), 2 * limits.txn_ops_max, "compare fewer keys")
    total = 0
    for key, value in txn.ops:
        if not key:
            raise InvalidArgumentError("a key is empty: every key needs at least one byte")
        if len(key) > KEY_BYTES_MAX:
            raise _past("key_bytes_max", len(key), KEY_BYTES_MAX, "shorten the key")
        size = len(value) if value else 0
        if size > limits.value_bytes_max:
            raise _past(f"value_bytes_max (key {_show(key)})", size, limits.value_bytes_max, "make the value smaller")
        total += len(key) + size
    if total > limits.txn_bytes_max:
        raise _past("txn_bytes_max", total, limits.txn_bytes_max, "split the transaction")
    if len(txn.ops) > 1 and len({op.key for op in txn.ops}) != len(txn.ops):
        raise InvalidArgumentError(f"key {_show(_first_duplicate(txn))} is written twice in one transaction")
    return total


def _past(limit: str, value: int, maximum: int, remedy: str) -> RubeError:
    return ResourceExhaustedError(
        f"{value} is more than the store's {limit} of {maximum}: {remedy}", limit=limit.split()[0], value=maximum
    )


def _first_duplicate(txn: Txn) -> bytes:
    seen: set[bytes] = set()
    for op in txn.ops:
        if op.key in seen:
            return op.key
        seen.add(op.key)
    raise AssertionError("there is a duplicate")


def _show(key: bytes) -> str:
    """Returns the key for messages and metadata: as text if it is text."""
    return key[:256].decode("utf-8", "backslashreplace")
