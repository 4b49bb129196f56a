"""The sender of snapshots to members that are too far behind for the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from grpc import aio

from rube.api.errors import RubeError, UnavailableError
from rube.group.config import MemberConfig
from rube.group.group_pb2 import Applied, Piece
from rube.group.peers import Link
from rube.group.records import APPLIED_KEY, read
from rube.group.snapshots import Ranges, pieces
from rube.host import Clock, Engine
from rube.host.engine import Snapshot
from rube.raft.raft_pb2 import Message
from rube.transport import rube_error

_LOG = logging.getLogger("rube.group")

PIECE_S = 10.0
RETRY_S = 0.5
FAILURES_MAX = 10
"""After so many failures in a row the Raft core hears that the snapshot was not delivered, and starts another."""
STATE_TRIES_MAX = 20


@dataclass(slots=True, kw_only=True)
class _Transfer:
    """One snapshot on its way."""

    group_id: str
    message: Message
    """The Raft core's message: it has the receiver and the term."""
    link: Link
    done: Callable[[bool], None]
    index: int = 1 << 62
    """The snapshot's last entry."""
    arrived: bool = False


class SnapshotSender:
    """The sender. It has at most one transfer to each member, each of an engine's snapshot that it holds until its
    end."""

    def __init__(self, clock: Clock, engine: Engine, config: MemberConfig, ranges: Ranges) -> None:
        self._clock = clock
        self._engine = engine
        self._config = config
        self._ranges = ranges
        self._under_way: dict[int, tuple[_Transfer, asyncio.Task[None]]] = {}

    def log_needed_after(self) -> int:
        """Returns the entry after which the log must keep everything: the last of the oldest snapshot under way."""
        return min((transfer.index for transfer, _ in self._under_way.values()), default=1 << 62)

    def start(self, group_id: str, message: Message, link: Link, done: Callable[[bool], None]) -> None:
        """Sends in a task of its own; at its end it calls `done` with whether the whole snapshot arrived.

        If a transfer of this term is under way, its end answers this one too. A transfer of an earlier term ends at
        once.
        """
        if message.to in self._under_way:
            transfer, task = self._under_way[message.to]
            if transfer.message.term != message.term:
                task.cancel()
            return
        transfer = _Transfer(group_id=group_id, message=message, link=link, done=done)
        task = asyncio.get_running_loop().create_task(self._run(transfer), name="snapshot")
        self._under_way[message.to] = transfer, task
        task.add_done_callback(partial(self._ended, transfer))

    def stop(self, unwanted: Callable[[int, Link], bool]) -> None:
        """Ends the transfers to such members over such links."""
        for member, (transfer, task) in self._under_way.items():
            if unwanted(member, transfer.link):
                task.cancel()

    async def close(self) -> None:
        tasks = [task for _, task in self._under_way.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, transfer: _Transfer, _: asyncio.Task[None]) -> None:
        # First, since the Raft core may ask for another transfer at once.
        del self._under_way[transfer.message.to]
        transfer.done(transfer.arrived)

    async def _run(self, transfer: _Transfer) -> None:
        try:
            transfer.arrived = await self._send(transfer)
        except RubeError as error:
            _LOG.error("member %s cannot send a snapshot: %s", self._config.name, error.message)
        except aio.UsageError:
            _LOG.info("the way to %s was closed during a snapshot", transfer.link.address)

    async def _send(self, transfer: _Transfer) -> bool:
        """Returns whether the whole snapshot arrived."""
        message, link = transfer.message, transfer.link
        view, applied = await self._state_with(message.to)
        try:
            transfer.index = applied.index
            _LOG.info("member %s sends its state as of entry %d to %s", self._config.name, applied.index, link.address)
            offset, failures = 0, 0
            while failures < FAILURES_MAX:
                try:
                    for piece in pieces(view, self._ranges, message, offset, self._config.piece_bytes_max):
                        piece.group_id, piece.sender, piece.to = transfer.group_id, message.sender, message.to
                        offset = await self._deliver(link, piece)
                        failures = 0
                        if offset != piece.offset + len(piece.pairs):
                            break  # the receiver has another part: go on from there
                        if piece.last:
                            return True
                except aio.AioRpcError as error:
                    failures += 1
                    _LOG.info("a snapshot for %s waits: %s", link.address, rube_error(error).message)
                    await self._clock.sleep(RETRY_S)
            return False
        finally:
            view.close()

    async def _state_with(self, member: int) -> tuple[Snapshot, Applied]:
        """Returns an engine snapshot whose configuration has the member: it refuses any other.

        The durable state may lag behind the applied one. Raises UnavailableError if it still lags after waiting.
        """
        for _ in range(STATE_TRIES_MAX):
            view = self._engine.snapshot()
            applied = read(view, APPLIED_KEY, Applied)
            assert applied is not None, "a leader has applied something"
            state = applied.conf_state
            if member in {*state.voters, *state.learners, *state.voters_outgoing, *state.learners_next}:
                return view, applied
            view.close()
            await self._clock.sleep(self._config.flush_s)
        raise UnavailableError(f"the durable state does not know member {member:x}")

    async def _deliver(self, link: Link, piece: Piece) -> int:
        answer = await link.stub.Install(piece, timeout=PIECE_S)
        return answer.pairs
