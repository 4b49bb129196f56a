"""The configuration of a member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rube.api.errors import InvalidArgumentError
from rube.group.observer import MemberObserver
from rube.host.network import MESSAGE_BYTES_MAX
from rube.raft.config import RaftConfig, ReadMode
from rube.raft.storage import MemoryStorage, Storage

MIB = 1024 * 1024
ENVELOPE_BYTES = 64 * 1024
"""The most bytes that a message adds around a proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """The configuration of one member of a group. Times in seconds.

    A first start forms the group of `members`. A later start ignores both `members` and `join`: the group knows its
    own.
    """

    name: str
    # HOST:PORT to listen on for the other members, and the address at which they reach it.
    listen: str
    address: str = ""
    members: tuple[tuple[str, str], ...] = ()
    """Names and addresses of all that form the group, this one among them. All must be up to form it."""
    join: tuple[str, ...] = ()
    """Addresses of members of an existing group that expects this one."""
    volatile: bool = False
    """Each member's engine loses its data with its process (rube/group/volatile.py): a newcomer replaces the silent
    member of its name, and a group that has lost its majority ends with GroupLostError."""

    certified_kind: str = "member"
    """The kind of identity in the certificates of the members, if they have any (rube.transport.Peer.kind)."""

    tick_s: float = 0.1
    election_ticks: int = 8
    """A follower that hears from no leader for one to two times so many ticks campaigns."""
    heartbeat_ticks: int = 1
    # Limits of the Raft core; see rube.raft.config.RaftConfig.
    pre_vote: bool = True
    check_quorum: bool = True
    read_mode: ReadMode = ReadMode.SAFE
    patience_s: float = 5.0
    """How long a proposal, a read or a change of the group may wait for a leader and a quorum."""

    message_bytes_max: int = MIB
    """Bytes of the entries of one append, and of the messages to one peer in one call."""
    # Appends in flight to one follower, and their bytes.
    inflight_messages_max: int = 256
    inflight_bytes_max: int = 32 * MIB
    proposal_bytes_max: int = 24 * MIB
    """Bytes of one proposal; a larger one is an error. It has to fit into a message to another member."""
    uncommitted_bytes_max: int = 32 * MIB
    """Bytes of a leader's uncommitted proposals; beyond them proposals are refused, and tried again."""
    # Messages that wait for one peer, and their bytes; beyond either, further messages are dropped.
    queue_messages_max: int = 4096
    queue_bytes_max: int = 32 * MIB
    piece_bytes_max: int = MIB
    """Bytes of a snapshot in one call."""
    flush_s: float = 0.05
    """State changes wait so long, and up to a tick more, for an append to be written with."""
    flush_bytes_max: int = 4 * MIB
    ends_when_full: bool = False
    """A full disk ends the member. Otherwise it acknowledges nothing until there is room."""
    # The log keeps so many applied entries, and bytes of them, for followers that are behind.
    log_entries_kept: int = 5000
    log_bytes_kept: int = 64 * MIB
    caught_up_entries: int = 100
    """A learner that is at most so many entries behind has caught up."""

    observer: MemberObserver | None = field(default=None, repr=False, compare=False)
    """For tests and simulations."""

    election_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "election_s", self.tick_s * self.election_ticks)
        if not self.name:
            raise InvalidArgumentError("a member needs a name: write, for example, name=a")
        names = [name for name, _ in self.members]
        if self.members and self.name not in names:
            raise InvalidArgumentError(f"members names {', '.join(names)}, but not this member, {self.name!r}: add it")
        if len(set(names)) != len(names):
            raise InvalidArgumentError(f"members has a name or an address twice: {', '.join(names)}")
        if self.volatile and not self.members:
            raise InvalidArgumentError("a volatile member finds its group only by members: name them all")
        if self.members and self.join:
            raise InvalidArgumentError("members forms a group, join enters one: give one of the two")
        if self.proposal_bytes_max + ENVELOPE_BYTES > MESSAGE_BYTES_MAX:
            raise InvalidArgumentError(
                f"proposal_bytes_max, {self.proposal_bytes_max}, does not fit into a message of {MESSAGE_BYTES_MAX} "
                f"bytes with the {ENVELOPE_BYTES} around it: write less"
            )
        self.core(1, MemoryStorage(), lambda below: 0)  # raises if parameters contradict each other

    def core(self, member: int, storage: Storage, random_below: Callable[[int], int], applied: int = 0) -> RaftConfig:
        """Returns the configuration of that member's Raft core. Raises InvalidArgumentError."""
        return RaftConfig(
            id=member,
            storage=storage,
            random_below=random_below,
            election_ticks=self.election_ticks,
            heartbeat_ticks=self.heartbeat_ticks,
            applied=applied,
            async_storage_writes=True,
            message_bytes_max=self.message_bytes_max,
            applying_bytes_max=self.flush_bytes_max,
            proposal_bytes_max=self.proposal_bytes_max,
            uncommitted_bytes_max=self.uncommitted_bytes_max,
            inflight_messages_max=self.inflight_messages_max,
            inflight_bytes_max=self.inflight_bytes_max,
            pre_vote=self.pre_vote,
            check_quorum=self.check_quorum,
            read_mode=self.read_mode,
            observer=self.observer,
        )

    @property
    def reachable_address(self) -> str:
        """The address at which the others reach this member."""
        return self.address or dict(self.members).get(self.name, "") or self.listen
