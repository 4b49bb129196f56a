"""The way to the other members: each subscribes to what every other one has for it, so that messages come in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from grpc import aio

from rube.api.errors import FailedPreconditionError, RubeError, UnavailableError
from rube.host import Host
from rube.raft.raft_pb2 import MSG_APP_RESP, Message
from rube.replica.config import MemberConfig
from rube.replica.replica_pb2 import Batch, Identity, Peer, Subscription
from rube.replica.replica_pb2_grpc import ReplicaStub
from rube.replica.waiting import Work
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.replica.replica_pb2_grpc import ReplicaAsyncStub

_LOG = logging.getLogger("rube.replica")

MESSAGES_PER_BATCH_MAX = 1024
# Of members that this one hears of by their subscriptions alone.
MET_MAX = 16


class StrangerError(FailedPreconditionError):
    """The call is not for this member, or not from its group."""


class Outbox:
    """What waits for one member. What finds no room, or nobody who subscribes, is dropped: Raft sends it again.

    An acknowledgement that tells nothing new, as of an append that moved the commit index alone, waits for the next
    message to go with (at the latest that is the answer to the leader's next heartbeat), or goes with a newer one.
    """

    def __init__(self, config: MemberConfig) -> None:
        self._config = config
        self._queue: deque[tuple[Message, int]] = deque()
        self._queue_bytes = 0
        self._work = Work()
        # How many there were, and the one that is served: the newest. 0: none.
        self._subscriptions = 0
        self._subscription = 0
        # The term and index of the newest acknowledgement in this subscription, and one that repeats it and waits.
        self._acknowledged = (0, 0)
        self._repeated: Message | None = None
        self._closed = False

    @property
    def open(self) -> bool:
        """There is a subscription, and room."""
        return bool(self._subscription) and len(self._queue) < self._config.queue_messages_max

    def send(self, message: Message) -> bool:
        """Queues the message; False: it was dropped. One of any size finds room where nothing else waits."""
        size = message.ByteSize()
        if not self.open or (self._queue and self._queue_bytes + size > self._config.queue_bytes_max):
            return False
        waiting, self._repeated = self._repeated, None
        # Without an index it acknowledges nothing: it tells a leader of an earlier term that there is a newer one.
        if message.type == MSG_APP_RESP and message.index and not message.reject:
            before, self._acknowledged = self._acknowledged, (message.term, message.index)
            if before == self._acknowledged:
                self._repeated = message
                return True
            if before < self._acknowledged:
                waiting = None
        if waiting is not None:
            self._queue.append((waiting, 0))
        self._queue.append((message, size))
        self._queue_bytes += size
        self._work.wake()
        return True

    @contextmanager
    def subscribed(self) -> Iterator[int]:
        """From here on messages are kept for this subscription, until another one comes or this one ends."""
        self._subscriptions += 1
        own = self._subscription = self._subscriptions
        self._drop()
        try:
            yield own
        finally:
            if self._subscription == own:
                self._subscription = 0
                self._drop()

    def close(self) -> None:
        """Nothing goes to that member any more: who has subscribed shall ask anew, and hears why."""
        self._closed, self._subscription = True, 0
        self._drop()

    async def batch(self, subscription: int) -> list[Message]:
        """The next messages, once there are some. Raises UnavailableError when another subscription has come, or none
        may come any more."""
        while self._subscription == subscription:
            if self._queue:
                return self._batch()
            await self._work.wait()
        raise UnavailableError(
            "the members have changed: subscribe anew" if self._closed else "the member has subscribed anew"
        )

    def _batch(self) -> list[Message]:
        size = 0
        messages: list[Message] = []
        while self._queue and size < self._config.message_bytes_max and len(messages) < MESSAGES_PER_BATCH_MAX:
            message, message_bytes = self._queue.popleft()
            messages.append(message)
            size += message_bytes
        self._queue_bytes -= size
        return messages

    def _drop(self) -> None:
        self._queue.clear()
        self._queue_bytes = 0
        self._acknowledged, self._repeated = (0, 0), None
        self._work.wake()


class Link:
    """One other member: what goes to it, and what comes from it."""

    def __init__(self, host: Host, config: MemberConfig, address: str, subscription: Subscription) -> None:
        self.address = address
        self.outbox = Outbox(config)
        # The term and commit index of the newest append without entries.
        self.commit = (0, 0)
        # When something last came; None: nothing has yet.
        self.heard_ns: int | None = None
        self._clock = host.clock
        self._config = config
        self._subscription = subscription
        self._channel = host.network.channel(address)
        self.stub: ReplicaAsyncStub = ReplicaStub(self._channel)

    async def run(self, receive: Callable[[Batch], None], removed: Callable[[RubeError], None]) -> None:
        """Takes what that member has for this one, until cancelled; subscribes again whenever that ends."""
        try:
            while True:
                try:
                    async for batch in self.stub.Subscribe(self._subscription):
                        self.heard_ns = self._clock.monotonic_ns()
                        receive(batch)
                except aio.AioRpcError as error:
                    told = rube_error(error)
                    if "removed" in told.metadata:
                        removed(told)
                    _LOG.debug("%s: %s", self.address, told.message)
                await self._clock.sleep(self._config.tick_s)
        finally:
            with suppress(Exception):
                await self._channel.close(None)


class Links:
    """One to each other member, at its newest address."""

    def __init__(
        self,
        host: Host,
        config: MemberConfig,
        own: Identity,
        receive: Callable[[int, Batch], None],
        removed: Callable[[RubeError], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """What comes is handed to `receive`, with its sender; `removed` is told if a member has removed this one, and
        `failed` what `receive` raises: nothing comes from that member any more."""
        self._host = host
        self._config = config
        self._own = own
        self._receive = receive
        self._removed = removed
        self._failed = failed
        self._links: dict[int, tuple[Link, asyncio.Task[None]]] = {}
        # The members that are known, and those that have come by, with their addresses.
        self._known: dict[int, str] = {}
        self._met: dict[int, str] = {}

    def get(self, member: int) -> Link | None:
        link, _ = self._links.get(member, (None, None))
        return link

    def follow(self, peers: Iterable[Peer]) -> None:
        """These are the members now."""
        self._known = {peer.id: peer.address for peer in peers if peer.id not in (0, self._own.id)}
        self._met = {}  # who is left out comes by again
        self._connect()

    def meet(self, member: int, address: str) -> Link | None:
        """The link to a member of this group that this one does not know of. It may be the leader, all those whom this
        one knows being gone by now."""
        if not address or len(self._met) >= MET_MAX:
            return None
        self._met[member] = address
        self._connect()
        return self.get(member)

    def _connect(self) -> None:
        wanted = {**self._met, **self._known}
        for member in [one for one, (link, _) in self._links.items() if wanted.get(one) != link.address]:
            link, task = self._links.pop(member)
            link.outbox.close()
            task.cancel()
        for member, address in sorted(wanted.items()):
            if member not in self._links:
                subscription = Subscription(group_id=self._own.group_id, subscriber=self._own.id, sender=member)
                subscription.address = self._config.reachable_address
                link = Link(self._host, self._config, address, subscription)
                run = link.run(partial(self._receive, member), self._removed)
                task = asyncio.get_running_loop().create_task(run, name=f"link to {address}")
                task.add_done_callback(self._ended)
                self._links[member] = link, task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failed(error)

    async def close(self) -> None:
        tasks = [task for _, task in self._links.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
