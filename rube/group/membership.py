"""Changes of the group's members: their commands, and the refusal of those that would lose the quorum."""

from __future__ import annotations

from contextlib import suppress

from rube.api.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotDoneError,
    UnavailableError,
)
from rube.group.core import Core
from rube.group.group_pb2 import Command, MembersChange, Peer, PeerProgress
from rube.group.peers import is_address
from rube.raft.progress import ProgressState

NAME_CHARACTERS_MAX = 100
"""Names appear in logs and store URLs."""


class NotLeadingError(NotDoneError):
    """Another member leads now, and nothing was done here: ask the leader."""


class Membership:
    """The leader's view of its group, and the changes that it allows.

    Only the leader asks it, again with every attempt to propose, since the group may have changed since the last one. A
    result of None means that there is nothing to do.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._node = core.node

    def progress(self) -> list[PeerProgress]:
        """Returns how far each member has come; empty unless this member leads."""
        status = self._node.status()
        return [
            PeerProgress(
                id=member,
                match=progress.match,
                active=self._core.reach.hears(member),
                state=progress.state.value,
            )
            for member, progress in sorted(status.progress.items())
        ]

    def addition(self, peer: Peer) -> Command:
        """Returns the command to expect a newcomer. Raises AlreadyExistsError, InvalidArgumentError."""
        if not 0 < len(peer.name) <= NAME_CHARACTERS_MAX or not is_address(peer.address):
            raise InvalidArgumentError("a new member needs a name and an address: rube cluster add NAME HOST:PORT")
        self._core.state.roster.check_free(peer)
        return Command(expect=Peer(name=peer.name, address=peer.address, promote=peer.promote, learner=True))

    def removal(self, meant: Peer) -> Command | MembersChange | None:
        """Returns the removal of that member, never of another disk with its name.

        Raises FailedPreconditionError if the others could not decide any more.
        """
        roster = self._core.state.roster
        peer = roster.by_id(meant.id) if meant.id else roster.by_name(meant.name)
        if peer is None:
            return None
        if not peer.id:
            return Command(forget=peer.name)
        if not peer.learner:
            self._check_quorum(self._voters() - {peer.id}, f"without member {peer.name!r}")
        return MembersChange(peer=peer, remove=True)

    def admission(self, newcomer: Peer) -> MembersChange | None:
        """Returns the admission of an expected newcomer, or its change of address. Raises FailedPreconditionError for
        others."""
        known = self._core.state.roster.by_id(newcomer.id)
        if known is not None:
            return self.relocation(known.name, newcomer.address)
        peer = self._core.state.roster.admit(newcomer)
        return MembersChange(peer=peer)

    def relocation(self, name: str, address: str) -> MembersChange | None:
        """Returns the change of a member's address.

        Raises NotDoneError while it answers at another one, AlreadyExistsError if another member answers there,
        FailedPreconditionError unless it has joined.
        """
        roster = self._core.state.roster
        peer = roster.find(name)
        if not is_address(address):
            raise InvalidArgumentError(f"cannot use address {address[:NAME_CHARACTERS_MAX]!r}: write HOST:PORT")
        if not peer.id:
            raise FailedPreconditionError(
                f"member {name!r} has not joined yet: remove it, and add it with the new address", member=name
            )
        if peer.address == address:
            return None
        if (heard_at := self._core.reach.heard_at(peer.id)) not in ("", address):
            raise NotDoneError(
                f"member {name!r} answers at {heard_at}: stop that process first, and start it at {address}; if both "
                "run, one of them has a copy of the other's disk"
            )
        for other in roster.peers:
            lives = other.id not in (0, peer.id) and self._core.reach.hears(other.id)
            if lives and address in (other.address, self._core.reach.heard_at(other.id)):
                raise AlreadyExistsError(f"{address} is the address of member {other.name!r}, which answers")
        moved = Peer()
        moved.CopyFrom(peer)
        moved.address = address
        return MembersChange(peer=moved)

    def replacement(self, newcomer: Peer) -> MembersChange | None:
        """Returns the removal of the member with the newcomer's name, whose memory is lost, and the newcomer's
        expectation.

        No quorum is checked: the lost member can never vote again anyway. Raises UnavailableError while it may live.
        """
        gone = self._core.state.roster.by_name(newcomer.name)
        if gone is None or gone.id in (0, newcomer.id) or newcomer.id in self._core.state.roster.removed:
            return None
        if self._core.reach.hears(gone.id):
            raise UnavailableError(f"member {gone.name!r} has answered recently, from another process: try again")
        expect = Peer(name=newcomer.name, address=newcomer.address, promote=True)
        return MembersChange(peer=gone, remove=True, expect=expect)

    def promotion(self, name: str) -> MembersChange:
        """Returns the promotion. Raises NotFoundError, and FailedPreconditionError unless it is a learner that has
        caught up."""
        peer = self._core.state.roster.find(name)
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
        return MembersChange(peer=Peer(id=peer.id, name=peer.name, address=peer.address, promote=peer.promote))

    def due_promotion(self) -> MembersChange | None:
        """Returns the promotion of a learner that is to vote and has caught up."""
        for peer in self._core.state.roster.peers:
            if peer.id and peer.learner and peer.promote:
                with suppress(FailedPreconditionError):
                    return self.promotion(peer.name)
        return None

    def transferee(self, peer: Peer) -> int:
        """Returns the id of the member. Raises FailedPreconditionError unless it may lead."""
        if peer.learner or not peer.id:
            raise FailedPreconditionError(f"member {peer.name!r} does not vote: promote it first", member=peer.name)
        if peer.id not in self._active():
            raise FailedPreconditionError(f"member {peer.name!r} does not answer: choose another", member=peer.name)
        return peer.id

    @property
    def has_other_voters(self) -> bool:
        return bool(self._voters() - {self._core.identity.id})

    def _voters(self) -> set[int]:
        return {peer.id for peer in self._core.state.roster.peers if peer.id and not peer.learner}

    def _active(self) -> set[int]:
        return {progress.id for progress in self.progress() if progress.active}

    def _caught_up(self, member: int) -> bool:
        status = self._node.status()
        progress = status.progress.get(member)
        if progress is None or not self._core.reach.hears(member) or progress.state is not ProgressState.REPLICATE:
            return False
        return progress.match + self._core.config.caught_up_entries >= status.hard_state.commit

    def _check_quorum(self, voters: set[int], how: str) -> None:
        answering = voters & self._active()
        needed = len(voters) // 2 + 1
        if not voters or len(answering) < needed:
            down = ", ".join(sorted(self._core.state.roster.name_of(member) for member in voters - answering)) or "none"
            raise FailedPreconditionError(
                f"{how} the group would have {len(voters)} voters, of which {len(answering)} answer and {needed} are "
                f"needed (not answering: {down}): bring those back first, or add a member"
            )
