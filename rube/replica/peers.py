"""The way to the other members: one queue and one call at a time for each, so that messages arrive in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from grpc import aio

from rube.api.errors import FailedPreconditionError, RubeError
from rube.host import Host
from rube.raft.raft_pb2 import Message
from rube.replica.config import MemberConfig
from rube.replica.replica_pb2 import Batch, Digest
from rube.replica.replica_pb2_grpc import ReplicaStub
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.replica.replica_pb2_grpc import ReplicaAsyncStub

_LOG = logging.getLogger("rube.replica")

MESSAGES_PER_BATCH_MAX = 1024


class RemovedError(FailedPreconditionError):
    """The group has removed the member that metadata `removed` names. Its disk is of no use any more."""


class StrangerError(FailedPreconditionError):
    """The call is not for this member, or not from its group."""


class Link:
    """Everything that goes to one member. What cannot be delivered is dropped: Raft sends again what matters."""

    def __init__(self, host: Host, config: MemberConfig, address: str, envelope: Callable[[], Batch]) -> None:
        self.address = address
        self._clock = host.clock
        self._config = config
        self._envelope = envelope
        self._channel = host.network.channel(address)
        self.stub: ReplicaAsyncStub = ReplicaStub(self._channel)
        self._queue: deque[tuple[Message, int]] = deque()
        self._queue_bytes = 0
        self._work = asyncio.Event()

    def send(self, message: Message) -> bool:
        """Queues the message; False: there is no room, it was dropped."""
        size = message.ByteSize()
        full = len(self._queue) >= self._config.queue_messages_max
        if full or self._queue_bytes + size > self._config.queue_bytes_max:
            return False
        self._queue.append((message, size))
        self._queue_bytes += size
        self._work.set()
        return True

    async def run(self, unreachable: Callable[[], None], removed: Callable[[RubeError], None]) -> None:
        """Delivers until cancelled; tells when the member cannot be reached, and when it says that we are removed."""
        try:
            while True:
                if not self._queue:
                    self._work.clear()
                    await self._work.wait()
                try:
                    await self.stub.Deliver(self._batch(), timeout=self._config.election_s)
                except aio.AioRpcError as error:
                    told = rube_error(error)
                    if "removed" in told.metadata:
                        removed(told)
                    _LOG.debug("%s: %s", self.address, told.message)
                    self._drop()
                    unreachable()
                    await self._clock.sleep(self._config.tick_s)
        finally:
            with suppress(Exception):
                await self._channel.close(None)

    def _batch(self) -> Batch:
        batch = self._envelope()
        size = 0
        messages: list[Message] = []
        while self._queue and size < self._config.batch_bytes_max and len(messages) < MESSAGES_PER_BATCH_MAX:
            message, message_bytes = self._queue.popleft()
            messages.append(message)
            size += message_bytes
        self._queue_bytes -= size
        batch.messages.extend(messages)
        return batch

    def _drop(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0


def envelope(group_id: str, sender: int, to: int, digest: Digest | None) -> Batch:
    """A batch without messages."""
    return Batch(group_id=group_id, sender=sender, to=to, digest=digest)
