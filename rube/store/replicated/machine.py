"""The state machine: it applies transactions to the MVCC index, with the same rows on every member."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.api.errors import DataLossError
from rube.group.machine import Effect
from rube.host import Clock, Engine, Write
from rube.store.config import StoreConfig
from rube.store.mvcc.evaluate import Group
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import DamagedRow, encode_rows
from rube.store.mvcc.recovery import (
    LOG_RANGE,
    META_RANGE,
    Header,
    StoreState,
    compaction_mark,
    header_rows,
    read_header,
    read_log,
)
from rube.store.mvcc.versions import Versions
from rube.store.ports import Compare, Op, Txn
from rube.store.replicated.command_pb2 import Command
from rube.store.replicated.command_pb2 import Txn as TxnMessage
from rube.store.replicated.overlay import Overlay


class StoreMachine:
    """The `rube.group.StateMachine` of a store. Outcomes: a list of revisions or AbortedErrors, one a transaction."""

    def __init__(self, engine: Engine, clock: Clock, config: StoreConfig, compacted: Callable[[], None]) -> None:
        """`compacted` is called when rows are invisible to every read, and that is durable."""
        self._engine = engine
        self._clock = clock
        self._config = config
        self._compacted = compacted
        self._overlay = Overlay(engine)
        # The number of writes returned, and of durable ones; and the number of those returned when the last compaction
        # was applied.
        self._given = self._durable = self._compacted_at = 0
        # Header rows that the first command will write.
        self._new: Sequence[Write] = ()
        self.versions = self._show(StoreState(store_id="", revision=0, compact_revision=0, index=KeyIndex()))

    @property
    def state(self) -> StoreState:
        return self.versions.state

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        return (LOG_RANGE, META_RANGE)

    def apply(self, command: bytes) -> Effect:
        decoded = Command.FromString(command)
        state = self.state
        group = Group(state.index, state.revision)
        outcomes = [group.add(_txn(txn)) for txn in decoded.txns]
        writes = [*self._new, *encode_rows(group.rows, heads=state.heads)]
        self._new = ()
        compact = min(decoded.compact_revision, group.revision)
        if compact > state.compact_revision:
            writes.append(compaction_mark(compact))
        self._overlay.add(writes)
        self._given += len(writes)
        if group.rows:
            self.versions.show(group.rows, group.revision)
        if compact > state.compact_revision:
            state.compact_revision = compact
            self._compacted_at = self._given
        return Effect(outcomes, writes)

    def durable(self, writes: int) -> None:
        self._overlay.durable(writes)
        self._durable += writes
        # Not earlier: a crash would bring back reads of the rows that are deleted then.
        if self._compacted_at and self._durable >= self._compacted_at:
            self._compacted_at = 0
            self._compacted()

    def suspend(self) -> None:
        self.versions.close()

    async def reload(self, group_id: str) -> None:
        """Reads the engine. A store that is older than the group keeps its id; a new one gets the group's."""
        self._overlay.clear()
        self._given = self._durable = self._compacted_at = 0
        header = read_header(self._engine)
        if header is None:
            self._new = header_rows(Header(group_id, 0))
            state = StoreState(store_id=group_id, revision=0, compact_revision=0, index=KeyIndex())
        else:
            self._new = ()
            state = read_log(self._engine, header)
            if state.lost:
                raise _damaged(state.lost[0])
        self.versions.close()
        self.versions = self._show(state)

    def _show(self, state: StoreState) -> Versions:
        return Versions(self._overlay, self._clock, state, self._config)


def _damaged(row: DamagedRow) -> DataLossError:
    """Returns the error for a member that has lost a row: the others have it, and a snapshot would spread the
    damage."""
    return DataLossError(
        f"{row.error().message.partition(':')[0]} on this member's disk; the other members have it: remove this member "
        "from its group (rube cluster remove), wipe its disk and let it join again; of a group of which no member is "
        "whole, `rube store salvage` keeps the rest",
        key=row.key[:256].decode("utf-8", "backslashreplace"),
        revision=row.revision,
    )


def encode_txns(txns: Sequence[Txn]) -> bytes:
    """Returns the command that commits them, in order."""
    command = Command()
    for txn in txns:
        encoded = command.txns.add()
        for key, value in txn.ops:
            encoded.ops.add(key=key, value=value)
        for key, mod_revision in txn.compares:
            encoded.compares.add(key=key, mod_revision=mod_revision)
    return command.SerializeToString(deterministic=True)


def encode_compaction(revision: int) -> bytes:
    """Returns the command that compacts to that revision."""
    return Command(compact_revision=revision).SerializeToString(deterministic=True)


def _txn(txn: TxnMessage) -> Txn:
    ops = tuple(Op(op.key, op.value if op.HasField("value") else None) for op in txn.ops)
    return Txn(ops, tuple(Compare(compare.key, compare.mod_revision) for compare in txn.compares))
