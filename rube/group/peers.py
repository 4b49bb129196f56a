"""Links to the other members: each member subscribes to the messages that every other one has for it, so that they come
in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from grpc import aio

from rube.api.addresses import check_host_port
from rube.api.errors import FailedPreconditionError, InvalidArgumentError, RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.group.config import MemberConfig
from rube.group.group_pb2 import Batch, Identity, Peer, Subscription
from rube.group.group_pb2_grpc import MembersStub
from rube.group.incarnations import Incarnations
from rube.group.pending import Work
from rube.host import Host
from rube.raft.raft_pb2 import MSG_APP_RESP, Message
from rube.transport import rube_error

if TYPE_CHECKING:
    from rube.group.group_pb2_grpc import MembersAsyncStub

_LOG = logging.getLogger("rube.group")

MESSAGES_PER_BATCH_MAX = 1024
ADDRESS_CHARACTERS_MAX = 300
"""Characters of an address; a host name has 253 at most."""
MET_MAX = 16
"""So many members are known by their subscriptions alone."""
SILENT_S = 5
"""The log says that a member is not reached once in so many seconds."""
TELL_AGAIN_S = 60


def is_address(text: str) -> bool:
    """Returns whether the text may be HOST:PORT."""
    try:
        check_host_port(text)
    except InvalidArgumentError:
        return False
    return len(text) <= ADDRESS_CHARACTERS_MAX


class StrangerError(FailedPreconditionError):
    """The call is for another member, or from another group."""


class PendingMessages:
    """The messages that wait for one member. Without room or a subscriber a message is dropped: Raft sends it again.

    An acknowledgement without news, as of an append that moved the commit index alone, waits for the next message to go
    with (at the latest the answer to the leader's next heartbeat), or a newer one replaces it.
    """

    def __init__(self, config: MemberConfig) -> None:
        self._config = config
        self._queue: deque[tuple[Message, int]] = deque()
        self._queue_bytes = 0
        self._work = Work()
        # How many subscriptions there were, and the one that is served: the newest; 0 for no subscription.
        self._subscriptions = 0
        self._subscription = 0
        # The term and index of the newest acknowledgement in this subscription, and a waiting one that repeats it.
        self._acknowledged = (0, 0)
        self._repeated: Message | None = None
        self._closed = False

    @property
    def open(self) -> bool:
        """True if there is a subscription, and room."""
        return bool(self._subscription) and len(self._queue) < self._config.queue_messages_max

    def send(self, message: Message) -> bool:
        """Queues the message; False if it was dropped. An empty outbox has room for a message of any size."""
        size = message.ByteSize()
        if not self.open or (self._queue and self._queue_bytes + size > self._config.queue_bytes_max):
            return False
        waiting, self._repeated = self._repeated, None
        # Without an index it acknowledges nothing: it shows a leader of an earlier term that there is a newer one.
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
        """Keeps messages for this subscription, until another one comes or this one ends."""
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
        """Ends the subscription: the member has to ask again, and then gets the reason."""
        self._closed, self._subscription = True, 0
        self._drop()

    async def batch(self, subscription: int) -> list[Message]:
        """Returns the next messages, once there are some. Raises UnavailableError when another subscription has come or
        the outbox is closed."""
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
    """The link to one other member, in both directions. It tries each address at which the member may be."""

    def __init__(
        self, host: Host, config: MemberConfig, name: str, addresses: Callable[[], Sequence[str]], who: Subscription
    ) -> None:
        """`addresses` returns the member's addresses, the group's first; each attempt calls it again."""
        self.name = name
        # The member's address in the group, and the address that is tried now.
        self.address = self.at = addresses()[0]
        self.pending = PendingMessages(config)
        # The term and commit index of the newest append without entries.
        self.commit = (0, 0)
        # When something last came; None if nothing has yet.
        self.heard_ns: int | None = None
        self._host = host
        self._clock = host.clock
        self._config = config
        self._addresses = addresses
        self._subscription = who
        self._channel = host.network.channel(self.at)
        self.stub: MembersAsyncStub = MembersStub(self._channel)
        self._attempts = 0
        # Since when it cannot be reached, and when the log last said so; 0 if it can, or has not yet.
        self._failing_ns = self._told_ns = 0

    async def run(self, receive: Callable[[Batch], None], refused: Callable[[RubeError], None]) -> None:
        """Receives the member's messages for this one until cancelled, and subscribes again whenever the stream
        ends."""
        try:
            while True:
                before = self.heard_ns
                try:
                    async for batch in self.stub.Subscribe(self._subscription):
                        self.heard_ns = self._clock.monotonic_ns()
                        self._reached()
                        receive(batch)
                except aio.AioRpcError as error:
                    told = rube_error(error)
                    if "removed" in told.metadata or "doubled" in told.metadata:
                        refused(told)
                    self._note(told)
                await self._clock.sleep(self._config.tick_s)
                if self.heard_ns == before:
                    await self._look_elsewhere()
        finally:
            with suppress(Exception):
                await self._channel.close(None)

    async def _look_elsewhere(self) -> None:
        addresses = self._addresses()
        self._attempts += 1
        wanted = addresses[self._attempts % len(addresses)]
        if wanted != self.at:
            channel, self.at = self._channel, wanted
            self._channel = self._host.network.channel(wanted)
            self.stub = MembersStub(self._channel)
            await channel.close(None)

    def _note(self, error: RubeError) -> None:
        _LOG.debug("%s: %s", self.at, error.message)
        now_ns = self._clock.monotonic_ns()
        self._failing_ns = self._failing_ns or now_ns
        since_s = (now_ns - self._failing_ns) / NS_PER_S
        if since_s >= SILENT_S and now_ns - (self._told_ns or -NS_PER_S * TELL_AGAIN_S) >= TELL_AGAIN_S * NS_PER_S:
            self._told_ns = now_ns
            _LOG.warning(
                "member %s has not reached member %s at %s for %.0f s: %s; if its address has changed, start it with "
                "the new one (listen=…, or address=…), or run `rube cluster update %s HOST:PORT`",
                self._config.name,
                self.name,
                " or ".join(self._addresses()),
                since_s,
                error.message,
                self.name,
            )

    def _reached(self) -> None:
        if self._told_ns:
            _LOG.info("member %s reaches member %s at %s", self._config.name, self.name, self.at)
        self._failing_ns = self._told_ns = 0


class Links:
    """The links to the other members, one for each."""

    def __init__(
        self,
        host: Host,
        config: MemberConfig,
        own: Identity,
        incarnation: int,
        receive: Callable[[int, Batch], None],
        refused: Callable[[RubeError], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`incarnation` tells this process from every other. `receive` gets what comes, with its sender; `refused` the
        error if a member has removed this one or knows another process of it; `failed` an error of `receive`, after
        which nothing comes from that member any more."""
        self._host = host
        self._config = config
        self._own = own
        self._incarnation = incarnation
        self._receive = receive
        self._refused = refused
        self._failed = failed
        self._links: dict[int, tuple[Link, asyncio.Task[None]]] = {}
        # The known members, and those that have subscribed, with their addresses.
        self._known: dict[int, Peer] = {}
        self._met: dict[int, str] = {}
        # The addresses that members give themselves, if the group knows others.
        self._told: dict[int, str] = {}
        self._incarnations = Incarnations()

    def get(self, member: int) -> Link | None:
        link, _ = self._links.get(member, (None, None))
        return link

    def follow(self, peers: Iterable[Peer]) -> None:
        """Opens and closes links for these members."""
        self._known = {peer.id: peer for peer in peers if peer.id not in (0, self._own.id)}
        self._met = {}  # a member that is left out subscribes again
        self._told = {member: address for member, address in self._told.items() if member in self._known}
        self._connect()

    def meet(self, member: int, address: str) -> Link | None:
        """Opens a link to a member of this group that this one does not know. It may be the leader, if all members that
        this one knows are gone by now."""
        if not is_address(address) or len(self._met) >= MET_MAX:
            return None
        self._met[member] = address
        self._connect()
        return self.get(member)

    def subscribes(self, member: int, address: str, incarnation: int) -> None:
        """Notes that a known member subscribes from that address. Raises DoubledError."""
        self._incarnations.check(member, incarnation)
        if member in self._known and is_address(address):
            self._told[member] = address

    def _addresses(self, member: int) -> Sequence[str]:
        """Returns the addresses of that member: the group's, its own, the one in this member's store URL."""
        peer = self._known.get(member)
        if peer is None:
            return (self._met[member],)
        configured = dict(self._config.members).get(peer.name, "")
        found = (peer.address, self._told.get(member, ""), configured)
        return tuple(dict.fromkeys(address for address in found if address))

    def _connect(self) -> None:
        wanted = {**self._met, **{member: peer.address for member, peer in self._known.items()}}
        for member in [one for one, (link, _) in self._links.items() if wanted.get(one) != link.address]:
            link, task = self._links.pop(member)
            link.pending.close()
            task.cancel()
        for member, address in sorted(wanted.items()):
            if member not in self._links:
                subscription = Subscription(group_id=self._own.group_id, subscriber=self._own.id, sender=member)
                subscription.address = self._config.reachable_address
                subscription.incarnation = self._incarnation
                name = self._known[member].name if member in self._known else f"{member:x}"
                link = Link(self._host, self._config, name, partial(self._addresses, member), subscription)
                run = link.run(partial(self._receive, member), self._refused)
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
