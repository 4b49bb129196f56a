"""The members of the group: names and addresses, beside Raft's configuration of ids. Only applied entries change it."""

from __future__ import annotations

from collections.abc import Iterable

from rube.api.errors import AbortedError, AlreadyExistsError, FailedPreconditionError, NotFoundError
from rube.group.group_pb2 import MembersChange, Peer
from rube.raft.raft_pb2 import ConfState

REMOVED_MAX = 256
"""So many removed members are remembered, to refuse their calls; the oldest are forgotten."""


class OutdatedChangeError(AbortedError):
    """An entry that was applied after the change was decided forbids it. Nothing was changed."""


class Roster:
    """The members, and those that are expected (id 0), by name.

    Invariants: its ids are those of Raft's configuration; none of them is in `removed`.
    """

    def __init__(self, peers: Iterable[Peer], removed: Iterable[int]) -> None:
        self._peers = {peer.name: peer for peer in peers}
        self.removed = list(removed)

    @property
    def peers(self) -> list[Peer]:
        """All members, by name."""
        return [self._peers[name] for name in sorted(self._peers)]

    def find(self, name: str) -> Peer:
        """Returns the member of that name. Raises NotFoundError."""
        if name not in self._peers:
            raise NotFoundError(f"there is no member {name!r}; there are {', '.join(sorted(self._peers))}", member=name)
        return self._peers[name]

    def by_id(self, member: int) -> Peer | None:
        return next((peer for peer in self._peers.values() if peer.id == member and member), None)

    def by_name(self, name: str) -> Peer | None:
        return self._peers.get(name)

    def name_of(self, member: int) -> str:
        """Returns the name to show for an id."""
        peer = self.by_id(member)
        return peer.name if peer is not None else f"{member:x}"

    def admit(self, newcomer: Peer) -> Peer:
        """Returns the member that the newcomer becomes. Raises FailedPreconditionError unless the group expects it."""
        self._check_expected(newcomer)
        promote = self._peers[newcomer.name].promote
        return Peer(id=newcomer.id, name=newcomer.name, address=newcomer.address, learner=True, promote=promote)

    def check_free(self, peer: Peer) -> None:
        """Raises AlreadyExistsError if another member has the name or the address."""
        for known in self.peers:
            if known.name == peer.name:
                raise AlreadyExistsError(
                    f"there is a member {peer.name!r} already, at {known.address}: choose another name, or remove it",
                    member=peer.name,
                )
            if known.address == peer.address:
                raise AlreadyExistsError(
                    f"{peer.address} is the address of member {known.name!r} already: give the new one's own"
                )

    def _check_expected(self, peer: Peer) -> None:
        known = self._peers.get(peer.name)
        if peer.id in self.removed:
            raise FailedPreconditionError(
                f"the disk of member {peer.name!r} is one that the group has removed: wipe it, and start it again",
                member=peer.name,
            )
        if known is None:
            raise FailedPreconditionError(
                f"the group does not expect a member {peer.name!r}: run rube cluster add {peer.name} {peer.address}",
                member=peer.name,
            )
        if known.id not in (0, peer.id):
            raise FailedPreconditionError(
                f"member {peer.name!r} is in the group with another disk: if that is lost, run "
                f"rube cluster remove {peer.name} and rube cluster add {peer.name} {peer.address}",
                member=peer.name,
            )

    # All members apply these alike. The proposer has checked its change, but others may have come between: a change
    # that does not fit any more changes nothing, and returns False.

    def expect(self, peer: Peer) -> bool:
        """Expects a new member under that name."""
        try:
            self.check_free(peer)
        except AlreadyExistsError:
            return False
        self._peers[peer.name] = Peer(name=peer.name, address=peer.address, promote=peer.promote, learner=True)
        return True

    def forget(self, name: str) -> bool:
        """Stops to expect a member under that name. Returns False if it has joined."""
        if name in self._peers and self._peers[name].id:
            return False
        self._peers.pop(name, None)
        return True

    def fits(self, change: MembersChange) -> bool:
        """Returns whether `apply` may be called with the change."""
        if change.remove:
            return self.by_id(change.peer.id) is not None
        try:
            self._check_expected(change.peer)
        except FailedPreconditionError:
            return False
        return True

    def apply(self, change: MembersChange) -> None:
        """Applies a change that fits, together with Raft's configuration."""
        if not change.remove:
            self._peers[change.peer.name] = change.peer
            return
        gone = self.by_id(change.peer.id)
        assert gone is not None, f"the removal of {change.peer.id:x} does not fit"
        del self._peers[gone.name]
        self.removed = [*self.removed, gone.id][-REMOVED_MAX:]
        if change.HasField("expect"):
            self.expect(change.expect)

    def follow(self, conf_state: ConfState) -> None:
        """Takes the voters from Raft's configuration."""
        learners = {*conf_state.learners, *conf_state.learners_next}
        for peer in self._peers.values():
            peer.learner = not peer.id or peer.id in learners
