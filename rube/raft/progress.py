"""A leader's knowledge of one follower, which decides what it may send (paper section 5.3: nextIndex, matchIndex)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from rube.raft.inflights import Inflights


class ProgressState(enum.Enum):
    """The way in which the leader sends entries. The values are the names that etcd prints."""

    PROBE = "StateProbe"
    """The end of the follower's log is unknown: one append for each heartbeat, to find it."""
    REPLICATE = "StateReplicate"
    """Appends go out one after the other, before the earlier ones are answered."""
    SNAPSHOT = "StateSnapshot"
    """The entries it needs are compacted: nothing goes out while it takes a snapshot."""

    def __str__(self) -> str:
        return self.value


@dataclass(slots=True, kw_only=True)
class Progress:
    """A follower's place in the log. The invariant is `0 <= match < next` (`check`)."""

    match: int = 0
    """The highest index at which the follower's log is known to be the leader's."""
    next: int = 1
    """The next index to send; what lies between match and next is under way."""
    inflights: Inflights = field(default_factory=lambda: Inflights(256))
    sent_commit: int = 0
    """The highest commit index under way. It falls back when a message may have been lost."""
    state: ProgressState = ProgressState.PROBE
    pending_snapshot: int = 0
    """In SNAPSHOT: the index of the snapshot under way, from which next and sent_commit start."""
    recent_active: bool = False
    """The follower was heard from since the last check of the quorum."""
    append_flow_paused: bool = False
    """Appends wait for a heartbeat response: a probe is out, or the window of REPLICATE is full."""
    is_learner: bool = False

    def __str__(self) -> str:
        words = [f"{self.state} match={self.match} next={self.next}"]
        words += ["learner"] if self.is_learner else []
        words += ["paused"] if self.is_paused() else []
        words += [f"pendingSnap={self.pending_snapshot}"] if self.pending_snapshot else []
        words += ["inactive"] if not self.recent_active else []
        if count := self.inflights.count():
            words.append(f"inflight={count}" + ("[full]" if self.inflights.full() else ""))
        return " ".join(words)

    def check(self) -> None:
        """Asserts the invariants."""
        assert 0 <= self.match < self.next, f"match {self.match} is not below next {self.next}"
        if self.state is ProgressState.SNAPSHOT:
            assert self.next > self.pending_snapshot, f"next {self.next} is inside the snapshot {self.pending_snapshot}"

    def copy(self) -> Progress:
        """Returns a copy with the same window of messages, which a change of the configuration never alters."""
        return replace(self)

    def become_probe(self) -> None:
        """Probes from after match, or from after the snapshot that was under way."""
        pending = self.pending_snapshot if self.state is ProgressState.SNAPSHOT else 0
        self._reset(ProgressState.PROBE)
        self.next = max(self.match, pending) + 1
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """Sends everything after match, pipelined."""
        self._reset(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """Waits for the follower to take the snapshot at `index`."""
        self._reset(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    def sent_entries(self, entries: int, size_bytes: int) -> None:
        """Notes an append that goes out with that many entries of that size together. Not in SNAPSHOT."""
        assert self.state is not ProgressState.SNAPSHOT, "no append goes to a follower that takes a snapshot"
        if self.state is ProgressState.REPLICATE:
            if entries > 0:
                self.next += entries
                self.inflights.add(self.next - 1, size_bytes)
            # An append that fills the window, or goes past a full one, is a probe.
            self.append_flow_paused = self.inflights.full()
        elif entries > 0:
            self.append_flow_paused = True

    def can_bump_commit(self, index: int) -> bool:
        """Returns whether an append with this commit index has news for the follower."""
        return index > self.sent_commit and self.sent_commit < self.next - 1

    def maybe_update(self, index: int) -> bool:
        """Notes that the follower has acknowledged `index`. Returns False if that was known."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.append_flow_paused = False
        return True

    def maybe_decrease_to(self, rejected: int, match_hint: int) -> bool:
        """Notes that the follower has refused an append after `rejected`, with a hint where the logs agree (section
        5.3).

        Returns False if the refusal is stale: it is for an append from before the present knowledge.
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            if self.next - 1 != rejected:
                return False
            self.next = max(min(rejected, match_hint + 1), self.match + 1)
            self.append_flow_paused = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    def is_paused(self) -> bool:
        """Returns whether no entries may be sent now."""
        return self.state is ProgressState.SNAPSHOT or self.append_flow_paused

    def _reset(self, state: ProgressState) -> None:
        self.append_flow_paused = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.reset()
