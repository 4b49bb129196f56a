"""The durable content of a simulated disk, read from its bytes: a host would find it after losing its power now.

What a sync has lied about counts as durable, since a program is judged by what its disk tells it.
"""

from __future__ import annotations

from typing import Protocol

from rube.group.group_pb2 import LogStart
from rube.group.records import HARD_STATE_KEY, LOG_START_KEY, entry_key, unseal
from rube.raft.invariants import Invariant, InvariantError
from rube.raft.raft_pb2 import HardState, Message, MessageType
from rube.sim.world.disk import SimDisk
from rube.store.engines.image import MAGIC, decode_batches


class DurableView(Protocol):
    """The durable pairs of an engine."""

    def get(self, key: bytes) -> bytes | None: ...


class DurablePairs:
    """The pairs of an engine's log file, as far as it is durable. Takes up what has become so with each look."""

    def __init__(self, disk: SimDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._version: tuple[int, int] | None = None
        self._offset = 0
        self._pairs: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        return self.pairs().get(key)

    def pairs(self) -> dict[bytes, bytes]:
        """Returns the pairs that the engine would hold."""
        version = self._disk.version(self._path)
        if version != self._version:
            self._version, self._offset, self._pairs = version, len(MAGIC), {}
        news = self._disk.reported(self._path, self._offset)
        ends = len(MAGIC)
        for batch, end in decode_batches(MAGIC + news, self._path):
            ends = end
            for key, value in batch:
                if value is None:
                    self._pairs.pop(key, None)
                else:
                    self._pairs[key] = value
        self._offset += ends - len(MAGIC)
        return self._pairs


def check_acknowledgement(message: Message, view: DurableView, name: str) -> None:
    """Checks a message of the member on that host: as the message leaves, its promise is on the member's disk
    (dissertation section 3.8). Raises InvariantError."""
    if message.reject or message.type not in (MessageType.MSG_VOTE_RESP, MessageType.MSG_APP_RESP):
        return
    sealed = view.get(HARD_STATE_KEY)
    state = HardState() if sealed is None else unseal(HARD_STATE_KEY, sealed, HardState)
    if state.term < message.term:
        raise _not_durable(f"{name} answers in term {message.term}, its disk has term {state.term}")
    if state.term > message.term:
        return  # one write made this durable and took it back, in a later term
    if message.type == MessageType.MSG_VOTE_RESP:
        if state.vote != message.to:
            vote = f"{state.vote:x}" if state.vote else "none"
            raise _not_durable(f"{name} votes for {message.to:x} in term {message.term}, its disk has the vote {vote}")
    elif message.index and view.get(entry_key(message.index)) is None:
        sealed = view.get(LOG_START_KEY)
        start = LogStart() if sealed is None else unseal(LOG_START_KEY, sealed, LogStart)
        if start.index < message.index:
            raise _not_durable(f"{name} acknowledges entry {message.index}, which is not on its disk")


def _not_durable(found: str) -> InvariantError:
    return InvariantError(Invariant.DURABLE_ACKNOWLEDGEMENT, found)
