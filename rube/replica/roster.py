"""Who is in the group: names and addresses, beside Raft's configuration of ids. Changes only by what is applied."""

from __future__ import annotations

from collections.abc import Iterable

from rube.api.errors import FailedPreconditionError, NotFoundError
from rube.raft.raft_pb2 import ConfState
from rube.replica.replica_pb2 import Peer

# Ids of removed members that are remembered, to tell them so; the oldest are forgotten.
REMOVED_MAX = 256


class Roster:
    """The members, and those that are expected (id 0), by name."""

    def __init__(self, peers: Iterable[Peer], removed: Iterable[int]) -> None:
        self._peers = {peer.name: peer for peer in peers}
        self.removed = list(removed)

    @property
    def peers(self) -> list[Peer]:
        """All of them, by name."""
        return [self._peers[name] for name in sorted(self._peers)]

    def find(self, name: str) -> Peer:
        """Raises NotFoundError."""
        if name not in self._peers:
            raise NotFoundError(f"there is no member {name!r}; there are {', '.join(sorted(self._peers))}", member=name)
        return self._peers[name]

    def by_id(self, member: int) -> Peer | None:
        return next((peer for peer in self._peers.values() if peer.id == member and member), None)

    def by_name(self, name: str) -> Peer | None:
        return self._peers.get(name)

    def name_of(self, member: int) -> str:
        """For people."""
        peer = self.by_id(member)
        return peer.name if peer is not None else f"{member:x}"

    def admit(self, newcomer: Peer) -> Peer:
        """Who the newcomer is to become. Raises FailedPreconditionError unless the group expects it."""
        known = self._peers.get(newcomer.name)
        if known is None:
            raise FailedPreconditionError(
                f"the group does not expect a member {newcomer.name!r}: run "
                f"rube cluster add {newcomer.name} {newcomer.address}",
                member=newcomer.name,
            )
        if known.id not in (0, newcomer.id):
            raise FailedPreconditionError(
                f"member {newcomer.name!r} is in the group with another disk: if that is lost, run "
                f"rube cluster remove {newcomer.name} and rube cluster add {newcomer.name} {newcomer.address}",
                member=newcomer.name,
            )
        return Peer(id=newcomer.id, name=newcomer.name, address=newcomer.address, learner=True, promote=known.promote)

    # What is applied

    def expect(self, peer: Peer) -> None:
        """A new member may come under that name. Nothing changes where the name is taken."""
        if peer.name not in self._peers:
            self._peers[peer.name] = Peer(name=peer.name, address=peer.address, promote=peer.promote, learner=True)

    def forget(self, name: str) -> None:
        """Nobody is expected under that name any more."""
        if name in self._peers and not self._peers[name].id:
            del self._peers[name]

    def set(self, peer: Peer) -> None:
        self._peers[peer.name] = peer

    def remove(self, peer: Peer) -> None:
        self._peers.pop(peer.name, None)
        self.removed = [*self.removed, peer.id][-REMOVED_MAX:]

    def follow(self, conf_state: ConfState) -> None:
        """Who votes is Raft's to say."""
        learners = {*conf_state.learners, *conf_state.learners_next}
        for peer in self._peers.values():
            peer.learner = not peer.id or peer.id in learners
