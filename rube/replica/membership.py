"""Changes of the group: what is proposed, what is refused because it would lose the quorum."""

from __future__ import annotations

from rube.api.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from rube.raft.progress import ProgressState
from rube.replica.core import Core
from rube.replica.replica_pb2 import Peer, PeerProgress


class Membership:
    """What a leader knows of its group, and the changes that it lets through. Asked at the leader only."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._node = core.node

    def progress(self) -> list[PeerProgress]:
        """How far each has come; empty unless this member leads."""
        status = self._node.status()
        return [
            PeerProgress(
                id=member,
                match=progress.match,
                active=self._core.hears(member),
                state=progress.state.value,
            )
            for member, progress in sorted(status.progress.items())
        ]

    def addition(self, peer: Peer) -> Peer:
        """The newcomer to expect. Raises AlreadyExistsError, InvalidArgumentError."""
        if not peer.name or not peer.address:
            raise InvalidArgumentError("a new member needs a name and an address: rube cluster add NAME HOST:PORT")
        for known in self._core.roster.peers:
            if known.name == peer.name:
                raise AlreadyExistsError(
                    f"there is a member {peer.name!r} already, at {known.address}: choose another name, or remove it",
                    member=peer.name,
                )
            if known.address == peer.address:
                raise AlreadyExistsError(
                    f"{peer.address} is the address of member {known.name!r} already: give the new one's own"
                )
        return Peer(name=peer.name, address=peer.address, promote=peer.promote, learner=True)

    def check_removal(self, peer: Peer) -> None:
        """Raises FailedPreconditionError if the others could not decide any more."""
        if not peer.learner:
            self._check_quorum(self._voters() - {peer.id}, f"without member {peer.name!r}")

    def check_promotion(self, peer: Peer) -> None:
        """Raises FailedPreconditionError unless it is a learner that has caught up."""
        if not peer.id:
            raise FailedPreconditionError(f"member {peer.name!r} has not joined yet: start it", member=peer.name)
        if not peer.learner:
            raise FailedPreconditionError(f"member {peer.name!r} votes already", member=peer.name)
        if not self._caught_up(peer.id):
            raise FailedPreconditionError(
                f"member {peer.name!r} is behind: wait until `rube cluster members` shows that it has caught up",
                member=peer.name,
            )
        self._check_quorum(self._voters() | {peer.id}, f"with member {peer.name!r}")

    def transferee(self, peer: Peer) -> int:
        """Raises FailedPreconditionError unless the member may lead."""
        if peer.learner or not peer.id:
            raise FailedPreconditionError(f"member {peer.name!r} does not vote: promote it first", member=peer.name)
        if peer.id not in self._active():
            raise FailedPreconditionError(f"member {peer.name!r} does not answer: choose another", member=peer.name)
        return peer.id

    def due_promotion(self) -> Peer | None:
        """A learner that is to vote and has caught up."""
        for peer in self._core.roster.peers:
            if peer.id and peer.learner and peer.promote and self._caught_up(peer.id):
                return peer
        return None

    @property
    def has_other_voters(self) -> bool:
        return bool(self._voters() - {self._core.identity.id})

    def _voters(self) -> set[int]:
        return {peer.id for peer in self._core.roster.peers if peer.id and not peer.learner}

    def _active(self) -> set[int]:
        return {progress.id for progress in self.progress() if progress.active}

    def _caught_up(self, member: int) -> bool:
        status = self._node.status()
        progress = status.progress.get(member)
        if progress is None or not self._core.hears(member) or progress.state is not ProgressState.REPLICATE:
            return False
        return progress.match + self._core.config.caught_up_entries >= status.hard_state.commit

    def _check_quorum(self, voters: set[int], how: str) -> None:
        answering = voters & self._active()
        needed = len(voters) // 2 + 1
        if not voters or len(answering) < needed:
            down = ", ".join(sorted(self._core.roster.name_of(member) for member in voters - answering)) or "none"
            raise FailedPreconditionError(
                f"{how} the group would have {len(voters)} voters, of which {len(answering)} answer and {needed} are "
                f"needed (not answering: {down}): bring those back first, or add a member"
            )
