"""A member's state, and the primitive moves: to send, and to change role (paper figures 2 and 4)."""

from __future__ import annotations

import enum
from typing import NamedTuple

from rube.raft.config import NONE, RaftConfig, ReadMode
from rube.raft.entries import NO_LIMIT
from rube.raft.inflights import Inflights
from rube.raft.log import RaftLog
from rube.raft.progress import Progress
from rube.raft.raft_pb2 import (
    MSG_APP_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_VOTE,
    MSG_VOTE_RESP,
    ConfChangeV2,
    HardState,
    Message,
)
from rube.raft.reads import Reads, ReadState
from rube.raft.trace import Step
from rube.raft.tracker import ProgressTracker


class Role(enum.Enum):
    """A member's role (paper figure 4; dissertation section 9.6). The values are the names that etcd prints."""

    FOLLOWER = "StateFollower"
    CANDIDATE = "StateCandidate"
    LEADER = "StateLeader"
    PRE_CANDIDATE = "StatePreCandidate"

    def __str__(self) -> str:
        return self.value


TRANSITIONS: dict[Role, frozenset[Role]] = {
    Role.FOLLOWER: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    Role.PRE_CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE}),
    Role.CANDIDATE: frozenset({Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE, Role.LEADER}),
    Role.LEADER: frozenset({Role.FOLLOWER}),
}
"""The changes of role: a leader only ever steps down, and only a candidate is elected."""

_BECOMES = {
    Role.FOLLOWER: Step.BECOME_FOLLOWER,
    Role.PRE_CANDIDATE: Step.BECOME_PRE_CANDIDATE,
    Role.CANDIDATE: Step.BECOME_CANDIDATE,
    Role.LEADER: Step.BECOME_LEADER,
}

# These make a promise about durable state (dissertation section 3.8): they wait until everything that this member has
# decided so far is durable. A rejection promises nothing, but depends on the same state, and waits, too.
_AFTER_APPEND = frozenset({MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP})
# These carry the term that their sender chose.
_OWN_TERM = frozenset({MSG_VOTE, MSG_VOTE_RESP, MSG_PRE_VOTE, MSG_PRE_VOTE_RESP})
# These may be forwarded to a leader of any term.
_NO_TERM = frozenset({MSG_PROP, MSG_READ_INDEX})


class SoftState(NamedTuple):
    """The state that need not be persisted: the leader, as far as this member knows, and its own role."""

    leader: int
    role: Role


class Raft:
    """One member's state. The handlers in the modules beside this one read and change it; none keeps any of its own.

    Invariants: `term` never falls; `vote` changes only from NONE within a term (paper section 5.2, election safety);
    the role changes only as in TRANSITIONS; `leader` is the id itself exactly in role LEADER; a leader never overwrites
    or deletes entries of its log (leader append-only, section 5.3).
    """

    def __init__(self, config: RaftConfig) -> None:
        self.config = config
        self.id = config.id
        self.term = 0
        self.vote = NONE
        self.role = Role.FOLLOWER
        self.leader = NONE
        self.is_learner = False
        self.log = RaftLog(config.storage, config.applying_bytes_max or config.message_bytes_max)
        self.tracker = ProgressTracker(
            inflight_messages_max=config.inflight_messages_max, inflight_bytes_max=config.inflight_bytes_max
        )

        # Messages to be sent at once.
        self.messages: list[Message] = []
        # Messages to be sent when everything decided so far is durable; also to this member itself.
        self.messages_after_append: list[Message] = []
        # Reads that may be served, for the driver.
        self.read_states: list[ReadState] = []

        # Leader: the member that the leadership is being transferred to (dissertation section 3.10).
        self.transferee = NONE
        # Leader: an index at or past the last change of the configuration in the log; only one change may be unapplied
        # at a time (dissertation section 4.1).
        self.pending_conf_index = 0
        # Leader: the payload bytes of its entries that are not applied yet; never more than there are.
        self.uncommitted_bytes = 0
        self.uncommitted_bytes_max = config.uncommitted_bytes_max or NO_LIMIT
        # Leader: the reads of its term that no quorum has confirmed.
        self.reads = self._no_reads()
        # Leader: whether it has told a member to campaign in this term.
        self.gave_leave = False

        # Ticks since the start.
        self.ticks = 0
        # Until this tick it may be bound by a lease from before a restart.
        self.guarded_ticks = 0
        # Ticks since a follower last heard from the leader or granted its vote; since a candidate or leader began its
        # round.
        self.election_elapsed = 0
        # Leader: ticks since its last heartbeats.
        self.heartbeat_elapsed = 0
        # In [election_ticks, 2 * election_ticks), drawn again with every change of role (paper section 5.2).
        self.randomized_election_timeout = 0

    def check(self) -> None:
        """Asserts the invariants that concern this member alone, for tests and simulations."""
        self.log.check()
        assert (self.leader == self.id) == (self.role is Role.LEADER), f"{self.role} under leader {self.leader}"
        assert self.role is not Role.CANDIDATE or self.vote == self.id, "a candidate votes for itself"
        config = self.tracker.config
        assert set(self.tracker.progress) == {*config.voters.ids(), *config.learners}, "a progress for each member"
        for member, progress in self.tracker:
            progress.check()
            assert self.role is not Role.LEADER or progress.match <= self.log.last_index(), f"{member} is ahead"

    # Views

    def hard_state(self) -> HardState:
        """Returns the state that must be durable (paper figure 2)."""
        return HardState(term=self.term, vote=self.vote, commit=self.log.committed)

    def soft_state(self) -> SoftState:
        """Returns the state that need not be durable."""
        return SoftState(self.leader, self.role)

    def promotable(self) -> bool:
        """Returns whether it may be elected: it votes, and no snapshot is pending."""
        progress = self.tracker.progress.get(self.id)
        return progress is not None and not progress.is_learner and self.log.unstable.snapshot is None

    def committed_in_term(self) -> bool:
        """Returns whether an entry of this term is committed; only then does a leader know everything that is (paper
        section 8)."""
        return self.log.term(self.log.committed) == self.term

    # Sending

    def send(self, message: Message) -> None:
        """Queues the message, from this member at its term if it has no other; see `_AFTER_APPEND`."""
        kind = message.type
        if not message.sender:
            message.sender = self.id
        if kind in _OWN_TERM:
            assert message.term, "a vote request or response has its term"
        else:
            assert not message.term, "the term is this member's"
            if kind not in _NO_TERM:
                message.term = self.term
        if kind in _AFTER_APPEND:
            self.messages_after_append.append(message)
        else:
            assert message.to != self.id, "only messages that wait for durability may go to this member itself"
            self.messages.append(message)
        self.observe(Step.SEND, message=message)

    def forward(self, message: Message) -> None:
        """Passes a copy of the message on to the leader, which is known."""
        assert self.leader != NONE, "there is no leader to forward to"
        copy = Message()
        copy.CopyFrom(message)
        copy.to = self.leader
        self.send(copy)

    # Changes of role

    def become_follower(self, term: int, leader: int) -> None:
        """Follows `leader`, or no leader yet, in that term."""
        self._turn(Role.FOLLOWER, leader, term)

    def become_pre_candidate(self) -> None:
        """Asks for pre-votes first: neither term nor vote change (dissertation section 9.6)."""
        assert Role.PRE_CANDIDATE in TRANSITIONS[self.role], f"{self.role} never asks for votes"
        self.tracker.reset_votes()
        self.role = Role.PRE_CANDIDATE
        self.leader = NONE
        self.observe(Step.BECOME_PRE_CANDIDATE)

    def become_candidate(self) -> None:
        """Votes for itself in the next term (paper section 5.2)."""
        self._turn(Role.CANDIDATE, NONE, self.term + 1)

    def become_leader(self) -> None:
        """Leads; the caller appends its first entry."""
        self._turn(Role.LEADER, self.id, self.term)

    def _turn(self, role: Role, leader: int, term: int) -> None:
        assert role in TRANSITIONS[self.role], f"{self.role} cannot become {role}"
        self._reset(term)
        self.role = role
        self.leader = leader
        if role is Role.CANDIDATE:
            self.vote = self.id
        elif role is Role.LEADER:
            own = self.tracker.progress[self.id]
            own.become_replicate()
            own.recent_active = True
            # There may be a change of the configuration in the log: wait until all of it is applied.
            self.pending_conf_index = self.log.last_index()
        self.observe(_BECOMES[role])

    def _reset(self, term: int) -> None:
        assert term >= self.term, f"term {self.term} cannot fall to {term}"
        if term > self.term:
            self.term = term
            self.vote = NONE
        self.election_elapsed = 0
        self.heartbeat_elapsed = 0
        self.reset_election_timeout()
        self.transferee = NONE
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.reads = self._no_reads()
        self.gave_leave = False
        self.tracker.reset_votes()
        last = self.log.last_index()
        for member, progress in self.tracker:
            self.tracker.progress[member] = Progress(
                match=last if member == self.id else 0,
                next=last + 1,
                inflights=Inflights(self.config.inflight_messages_max, self.config.inflight_bytes_max),
                is_learner=progress.is_learner,
            )

    def reset_election_timeout(self) -> None:
        """Draws a new timeout, so that split votes are rare (paper section 5.2)."""
        ticks = self.config.election_ticks
        self.randomized_election_timeout = ticks + self.config.random_below(ticks)

    def _no_reads(self) -> Reads:
        # A follower's lease begins when the heartbeat arrives, but the tick that ends it may be almost due then.
        leased = self.config.read_mode is ReadMode.LEASE_BASED
        return Reads(self.config.reads_pending_max, self.config.election_ticks - 1 if leased else 0)

    # Observation

    def observe(self, step: Step, *, message: Message | None = None, change: ConfChangeV2 | None = None) -> None:
        """Passes the step to the observer."""
        if self.config.observer is not None:
            self.config.observer(self, step, message=message, change=change)

    def note(self, text: str) -> None:
        """Passes an explanation to the observer."""
        if self.config.observer is not None:
            self.config.observer(self, Step.NOTE, text=text)
