"""The messages that a member's Raft core sends to the other members."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rube.group.config import MemberConfig
from rube.group.peers import Link, Links
from rube.group.snapshot_sender import SnapshotSender
from rube.raft.node import RawNode
from rube.raft.progress import ProgressState
from rube.raft.raft_pb2 import MSG_APP, MSG_PROP, MSG_SNAP, Message

_LOG = logging.getLogger("rube.group")


class Outgoing:
    """Sends each message over the link to its member, a snapshot in pieces, and leaves out those that a later one makes
    needless. `snapshot_sent` gets the member, and whether its snapshot arrived."""

    def __init__(
        self,
        config: MemberConfig,
        group_id: str,
        node: RawNode,
        links: Links,
        sender: SnapshotSender,
        snapshot_sent: Callable[[int, bool], None],
    ) -> None:
        self._config = config
        self._group_id = group_id
        self._node = node
        self._links = links
        self._sender = sender
        self._snapshot_sent = snapshot_sent
        # Members to which a message could not be sent.
        self._lost: list[int] = []

    def send(self, message: Message) -> None:
        if (link := self._links.get(message.to)) is None:
            _LOG.debug("member %s has no way to %x", self._config.name, message.to)
        elif message.type == MSG_SNAP:
            self._sender.start(self._group_id, message, link, lambda arrived: self._snapshot_sent(message.to, arrived))
        elif not self._is_told_soon(message, link):
            if message.type == MSG_PROP:
                message.term = self._node.raft.term
            self.observe(message)
            if not link.pending.send(message):
                self._lost.append(message.to)

    def observe(self, message: Message) -> None:
        """Shows a message to the observer, also one of this member to itself."""
        if self._config.observer is not None:
            self._config.observer.sent(message)

    def take_lost(self) -> list[int]:
        """Returns the members to which a message could not be sent since the last call."""
        lost, self._lost = self._lost, []
        return lost

    def _is_told_soon(self, message: Message, link: Link) -> bool:
        """Returns whether a message can be left out because a later one will carry its commit index.

        That holds if the message carries a commit index only and entries are under way to the follower: their commit,
        the next entries or at the latest a heartbeat carry the index. Under load that is half of all messages.

        A message that does not even carry a new commit index asks what the follower has, since acknowledgements may be
        lost. It is sent.
        """
        if message.type != MSG_APP or message.entries:
            return False
        before, link.commit = link.commit, (message.term, message.commit)
        if before == link.commit:
            return False
        raft = self._node.raft
        progress = raft.tracker.progress.get(message.to)
        in_step = progress is not None and progress.state is ProgressState.REPLICATE and not progress.inflights.full()
        return in_step and raft.log.last_index() > raft.log.committed
