"""Invariants of a whole cluster, checked after every step, for tests and simulations (paper figure 3).

`Invariants` sees what no member sees: all logs and all disks at once. It observes every core's steps, what leaves a
member, is applied and is read; `check` then looks at the members themselves.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rube.raft.errors import LogCompactedError, LogUnavailableError
from rube.raft.quorum import JointConfig
from rube.raft.raft_pb2 import ConfChangeV2, Entry, EntryType, Message, MessageType
from rube.raft.reads import ReadState
from rube.raft.state import Raft, Role
from rube.raft.storage import Storage
from rube.raft.trace import Step

_PAGE_BYTES = 1 << 20


class Invariant(enum.Enum):
    """The invariants, each with its statement and its source."""

    ELECTION_SAFETY = ("there is at most one leader in a term", "paper section 5.2, figure 3")
    ELECTED_BY_QUORUM = ("a leader has the votes of a quorum, in its term", "paper sections 5.2, 6")
    LEADER_APPEND_ONLY = ("a leader never overwrites or deletes entries of its log", "paper section 5.3, figure 3")
    LOG_MATCHING = ("logs that share an entry's index and term are the same up to it", "paper section 5.3, figure 3")
    LEADER_COMPLETENESS = ("a leader has all that was committed in earlier terms", "paper section 5.4, figure 3")
    STATE_MACHINE_SAFETY = ("no two members apply different entries at an index", "paper section 5.4.3, figure 3")
    COMMIT_ON_QUORUM = (
        "a leader commits what a quorum has made durable, ending in its own term",
        "paper sections 5.4.2, 6",
    )
    ONE_VOTE = ("a member gives one vote in a term", "paper section 5.2, figure 2")
    UP_TO_DATE_VOTE = ("a vote goes to a log that is at least as up-to-date", "paper section 5.4.1")
    DURABLE_ACKNOWLEDGEMENT = ("what a member has acknowledged is on its disk", "dissertation section 3.8")
    MONOTONIC = ("term, vote, commit and applied index never go back", "paper sections 5.1, 5.3, figure 2")
    KNOWN_CONFIGURATION = (
        "a candidate has applied each change of the configuration that it has committed",
        "dissertation section 4.1, where a change takes effect as it is applied",
    )
    LINEARIZABLE_READ = ("a read sees what was committed before it was asked", "dissertation section 6.4")

    @property
    def statement(self) -> str:
        return self.value[0]

    @property
    def source(self) -> str:
        return self.value[1]


class InvariantError(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, found: str) -> None:
        super().__init__(f"{invariant.name}: {found}; but {invariant.statement} ({invariant.source})")
        self.invariant = invariant


class MemberView(Protocol):
    """A member seen from outside: its core, None while it is down, and its disk, which stays."""

    @property
    def raft(self) -> Raft | None: ...

    @property
    def storage(self) -> Storage: ...


class _Content(NamedTuple):
    """An entry without its index."""

    term: int
    type: int
    data: bytes


@dataclass(slots=True)
class _Seen:
    """The state of a member's core when it was last checked."""

    raft: Raft
    term: int
    vote: int
    role: Role
    committed: int
    applied: int
    tail: dict[int, _Content]
    """A leader's entries that were not committed, by index."""


class Invariants:
    """The judge of one cluster. Every method raises InvariantError.

    Two members may disagree at most about the last `history_entries_max` indexes; older ones are forgotten.
    """

    def __init__(
        self, members: Mapping[int, MemberView], *, committed: int = 0, history_entries_max: int = 1 << 16
    ) -> None:
        """`members` is read at each check; `committed` is the index at which all of them start."""
        self._members = members
        self._history_entries_max = history_entries_max
        # The highest index that any leader has counted a quorum for; and by the leader's term.
        self._committed = committed
        self._committed_in: dict[int, int] = {}
        self._leaders: dict[int, int] = {}
        self._votes: dict[tuple[int, int], int] = {}
        # By index: the committed entry; the entry of each term, with the term of the entry before it.
        self._chosen: dict[int, _Content] = {}
        self._written: dict[int, dict[int, tuple[int, _Content]]] = {}
        self._applied: dict[int, int] = {}
        self._seen: dict[int, _Seen] = {}
        self._durable: dict[int, tuple[int, int, int]] = {}
        self._reads: dict[bytes, int] = {}

    # Called as it happens

    def __call__(
        self,
        raft: Raft,
        step: Step,
        /,
        *,
        message: Message | None = None,
        change: ConfChangeV2 | None = None,
        text: str = "",
    ) -> None:
        """Observes a step: elections and commits are checked at once, with the configuration of the moment."""
        if step is Step.BECOME_LEADER:
            self._elected(raft)
        elif step in (Step.BECOME_PRE_CANDIDATE, Step.BECOME_CANDIDATE):
            self._check_configuration(raft)
        elif step is Step.SEND and message is not None and message.type == MessageType.MSG_VOTE_RESP:
            self._voted(raft, message)
        elif step is Step.COMMIT and raft.log.committed > self._committed:
            self._counted(raft)

    def _voted(self, voter: Raft, vote: Message) -> None:
        """Checks a vote as it is decided: the candidate's log is as it was when it asked, or longer."""
        member = self._members.get(vote.to)
        candidate = member.raft if member is not None else None
        if vote.reject or candidate is None or candidate is voter or candidate.term != vote.term:
            return
        if candidate.role in (Role.CANDIDATE, Role.LEADER) and candidate.log.last_id() < voter.log.last_id():
            ids = f"{voter.log.last_id()}, and votes for {vote.to}, whose log ends with {candidate.log.last_id()}"
            found = f"the log of {voter.id} ends with {ids}, in term {vote.term}"
            raise InvariantError(Invariant.UP_TO_DATE_VOTE, found)

    def sent(self, message: Message) -> None:
        """Called when the message leaves its member, to another or to itself."""
        if message.reject:
            return
        sender, term = message.sender, message.term
        if message.type == MessageType.MSG_VOTE_RESP:
            before = self._votes.setdefault((sender, term), message.to)
            if before != message.to:
                found = f"{sender} votes for {message.to} in term {term}, where it voted for {before}"
                raise InvariantError(Invariant.ONE_VOTE, found)
            if (on_disk := self._members[sender].storage.initial_state()[0]).term < term:
                found = f"{sender} votes in term {term}, its disk has term {on_disk.term}"
                raise InvariantError(Invariant.DURABLE_ACKNOWLEDGEMENT, found)
        elif message.type == MessageType.MSG_APP_RESP:
            last = self._members[sender].storage.last_index()
            if message.index > last:
                found = f"{sender} acknowledges entry {message.index}, its disk has {last}"
                raise InvariantError(Invariant.DURABLE_ACKNOWLEDGEMENT, found)

    def applied(self, member: int, entry: Entry) -> None:
        """Called when the member's state machine applies the entry."""
        last = self._applied.get(member)
        if last is not None and entry.index != last + 1:
            raise InvariantError(Invariant.MONOTONIC, f"{member} applies entry {entry.index} after {last}")
        self._applied[member] = entry.index
        if entry.index > self._committed:
            found = f"{member} applies entry {entry.index}, {self._committed} is committed"
            raise InvariantError(Invariant.COMMIT_ON_QUORUM, found)
        self._choose(member, entry)

    def restored(self, member: int, index: int) -> None:
        """Called when the member's state machine continues from a snapshot: a received one, or its own after a
        restart."""
        self._applied[member] = index

    def read_asked(self, context: bytes) -> None:
        """Called when a client asks for a read; the context must be new."""
        self._reads[context] = self._committed

    def read_answered(self, member: int, state: ReadState) -> None:
        """Called when the member may serve the read at that index. Not for lease-based reads, which depend on
        clocks."""
        needed = self._reads.pop(state.context, 0)
        if state.index < needed:
            found = f"{member} serves a read at {state.index}, {needed} was committed when it was asked"
            raise InvariantError(Invariant.LINEARIZABLE_READ, found)

    # Checked after every step

    def check(self) -> None:
        """Checks all members."""
        for number, member in sorted(self._members.items()):
            self._check_disk(number, member)
            if member.raft is not None:
                self._check_member(number, member.raft)

    def _check_disk(self, number: int, member: MemberView) -> None:
        """Checks the hard state. A commit index need not be synced: a restart may find an older one."""
        hard_state = member.storage.initial_state()[0]
        term, vote, commit = self._durable.get(number, (0, 0, 0))
        now = (hard_state.term, hard_state.vote, hard_state.commit)
        seen = self._seen.get(number)
        goes_on = seen is not None and seen.raft is member.raft
        if now[0] < term or (now[2] < commit and goes_on) or (now[0] == term and vote and now[1] != vote):
            found = f"the disk of {number} had term {term}, vote {vote}, commit {commit}, and has {now}"
            raise InvariantError(Invariant.MONOTONIC, found)
        self._durable[number] = now

    def _check_member(self, number: int, raft: Raft) -> None:
        seen = self._seen.get(number)
        if seen is None or seen.raft is not raft:
            seen = _Seen(raft, 0, 0, Role.FOLLOWER, 0, 0, {})
        self._check_monotonic(number, raft, seen)
        if raft.role is Role.LEADER and self._leaders.get(raft.term) != number:
            found = f"{number} leads in term {raft.term}, {self._leaders.get(raft.term, 'no member')} was elected"
            raise InvariantError(Invariant.ELECTION_SAFETY, found)
        if raft.log.committed > self._committed:
            found = f"{number} has committed {raft.log.committed}, leaders have counted {self._committed}"
            raise InvariantError(Invariant.COMMIT_ON_QUORUM, found)
        tail = self._tail(raft) if raft.role is Role.LEADER else {}
        if raft.role is seen.role is Role.LEADER and raft.term == seen.term:
            self._check_append_only(raft, seen.tail, tail)
        self._check_log(number, raft, max(raft.log.first_index(), seen.committed + 1))
        self._seen[number] = _Seen(raft, raft.term, raft.vote, raft.role, raft.log.committed, raft.log.applied, tail)

    def _tail(self, raft: Raft) -> dict[int, _Content]:
        low, high = max(raft.log.committed + 1, raft.log.first_index()), raft.log.last_index() + 1
        return {entry.index: _content(entry) for page in raft.log.pages(low, high, _PAGE_BYTES) for entry in page}

    def _check_append_only(self, raft: Raft, before: dict[int, _Content], now: dict[int, _Content]) -> None:
        for index, content in before.items():
            if index > raft.log.committed and now.get(index) != content:
                found = f"{raft.id} leads term {raft.term}, had {content} at {index}, and has {now.get(index)}"
                raise InvariantError(Invariant.LEADER_APPEND_ONLY, found)

    def _check_monotonic(self, number: int, raft: Raft, seen: _Seen) -> None:
        log = raft.log
        fell = [
            f"{what} of {number} falls from {before} to {after}"
            for what, before, after in (
                ("term", seen.term, raft.term),
                ("commit index", seen.committed, log.committed),
                ("applied index", seen.applied, log.applied),
            )
            if after < before
        ]
        if raft.term == seen.term and seen.vote and raft.vote != seen.vote:
            fell.append(f"vote of {number} in term {raft.term} changes from {seen.vote} to {raft.vote}")
        if fell:
            raise InvariantError(Invariant.MONOTONIC, "; ".join(fell))

    def _check_log(self, number: int, raft: Raft, low: int) -> None:
        """Checks the log from `low` on: what is below was committed and checked before."""
        log = raft.log
        before = log.term(low - 1) or 0
        for page in log.pages(low, log.last_index() + 1, _PAGE_BYTES):
            for entry in page:
                self._write(number, entry, before)
                if entry.index <= log.committed:
                    self._choose(number, entry)
                before = entry.term

    # Knowledge of the cluster

    def _write(self, number: int, entry: Entry, before: int) -> None:
        """Notes an entry. With the term of the entry before it, equal entries have equal logs below them, by
        induction."""
        written = (before, _content(entry))
        known = self._written.setdefault(entry.index, {}).setdefault(entry.term, written)
        self._written.pop(entry.index - self._history_entries_max, None)
        if known != written:
            found = (
                f"{number} has at {entry.index} {written[1]} behind term {before}, others {known[1]} behind {known[0]}"
            )
            raise InvariantError(Invariant.LOG_MATCHING, found)

    def _choose(self, number: int, entry: Entry) -> None:
        content = _content(entry)
        known = self._chosen.setdefault(entry.index, content)
        self._chosen.pop(entry.index - self._history_entries_max, None)
        if known != content:
            found = f"{number} commits {content} at {entry.index}, others {known}"
            raise InvariantError(Invariant.STATE_MACHINE_SAFETY, found)

    def _elected(self, raft: Raft) -> None:
        before = self._leaders.setdefault(raft.term, raft.id)
        if before != raft.id:
            found = f"{raft.id} is elected in term {raft.term}, and so was {before}"
            raise InvariantError(Invariant.ELECTION_SAFETY, found)
        self._check_votes(raft)
        for term, index in sorted(self._committed_in.items()):
            if term < raft.term:
                self._check_complete(raft, index, term)

    def _check_votes(self, leader: Raft) -> None:
        """Checks a leader's votes. Its own vote must be on its disk; it need not be sent."""
        given = {member for (member, term), to in self._votes.items() if term == leader.term and to == leader.id}
        on_disk = self._members[leader.id].storage.initial_state()[0]
        if (on_disk.term, on_disk.vote) == (leader.term, leader.id):
            given.add(leader.id)
        voters = leader.tracker.config.voters
        if not _is_quorum(voters, given.__contains__):
            found = f"{leader.id} leads term {leader.term} with the votes of {sorted(given)}, no quorum of {voters}"
            raise InvariantError(Invariant.ELECTED_BY_QUORUM, found)

    def _check_configuration(self, candidate: Raft) -> None:
        log = candidate.log
        for page in log.pages(log.applied + 1, log.committed + 1, _PAGE_BYTES):
            for entry in page:
                if entry.type != EntryType.ENTRY_NORMAL:
                    found = f"{candidate.id} campaigns in term {candidate.term} without the change at"
                    raise InvariantError(Invariant.KNOWN_CONFIGURATION, f"{found} {entry.index}")

    def _check_complete(self, leader: Raft, index: int, term: int) -> None:
        chosen = self._chosen.get(index)
        has = leader.log.term(index)
        covered = index < leader.log.first_index()
        if not covered and (has is None or (chosen is not None and has != chosen.term)):
            found = f"{leader.id} leads term {leader.term} with {has} at {index}, which was committed in term {term}"
            raise InvariantError(Invariant.LEADER_COMPLETENESS, found)

    def _counted(self, raft: Raft) -> None:
        """Checks a leader that has committed more than any before it."""
        index, term = raft.log.committed, raft.log.term(raft.log.committed)
        voters = raft.tracker.config.voters
        if term != raft.term:
            found = f"{raft.id} leads term {raft.term} and commits up to {index}, of term {term}"
            raise InvariantError(Invariant.COMMIT_ON_QUORUM, found)
        if not _is_quorum(voters, lambda member: self._has(member, index, term)):
            found = f"{raft.id} commits {index}, which is not on a quorum of {voters}"
            raise InvariantError(Invariant.COMMIT_ON_QUORUM, found)
        (entry,) = raft.log.slice(index, index + 1, 0)
        self._choose(raft.id, entry)
        self._committed = index
        self._committed_in[term] = index
        for _, member in sorted(self._members.items()):
            other = member.raft
            if other is not None and other.role is Role.LEADER and other.term > term:
                self._check_complete(other, index, term)

    def _has(self, member: int, index: int, term: int) -> bool:
        """Returns whether the entry, or a snapshot that covers it, is on the member's disk."""
        if member not in self._members:
            return False
        try:
            return self._members[member].storage.term(index) == term
        except LogCompactedError:
            return True
        except LogUnavailableError:
            return False


def _is_quorum(voters: JointConfig, agrees: Callable[[int], bool]) -> bool:
    """Returns whether more than half of each half agrees. Counted here, since the core's count is under test."""
    return all(2 * sum(map(agrees, half)) > len(half) for half in voters if half)


def _content(entry: Entry) -> _Content:
    return _Content(entry.term, entry.type, entry.data)
