"""The other members as one member reaches them: which of them answer, and at which address."""

from __future__ import annotations

from grpc import aio

from rube.api.errors import NotDoneError
from rube.api.times import NS_PER_S
from rube.group.config import MemberConfig
from rube.group.peers import Links
from rube.host import Host
from rube.raft.node import RawNode


class Reachability:
    """A member's knowledge of the others, from its links and its Raft core."""

    def __init__(self, host: Host, config: MemberConfig, own: int, node: RawNode, links: Links) -> None:
        self._clock = host.clock
        self._network = host.network
        self._config = config
        self._own = own
        self._node = node
        self._links = links

    def leader(self) -> bool:
        """Returns whether a proposal would be on its way to the leader, as far as this member knows."""
        if self._node.is_leader:
            return True
        link = self._links.get(self._node.raft.leader)
        return link is not None and link.pending.open

    def hears(self, member: int) -> bool:
        """Returns whether that member has sent anything within two election timeouts; a leader's heartbeats ask for
        it."""
        if member == self._own:
            return True
        link = self._links.get(member)
        if link is None or link.heard_ns is None:
            return False
        return self._clock.monotonic_ns() - link.heard_ns < 2 * self._config.election_s * NS_PER_S

    def heard_at(self, member: int) -> str:
        """Returns the address at which that member answers; "" if it does not answer."""
        link = self._links.get(member)
        return link.at if link is not None and self.hears(member) else ""

    def channel(self, member: int) -> aio.Channel:
        """Opens a channel to the address at which that member is looked for. Raises UnavailableError."""
        link = self._links.get(member)
        if link is None:
            raise NotDoneError(f"there is no way to member {member:x} now: try again")
        return self._network.channel(link.at)

    def best_successor(self) -> int:
        """Returns the id of the other voter with the longest log among those that answer; 0 if there is none."""
        status = self._node.status()
        candidates = [
            (progress.match, member)
            for member, progress in status.progress.items()
            if member != status.id and not progress.is_learner and self.hears(member)
        ]
        return max(candidates, default=(0, 0))[1]
