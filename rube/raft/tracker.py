"""The members of the cluster and their progress: the leader's view (paper sections 5.2 to 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rube.raft.progress import Progress
from rube.raft.quorum import JointConfig, MajorityConfig, VoteResult
from rube.raft.raft_pb2 import ConfState


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The members of a cluster.

    Invariant: no member is a voter, in either half, and a learner. So a voter that is demoted in a joint configuration
    is held in `learners_next`, and becomes a learner when the outgoing half is left.
    """

    voters: JointConfig = field(default_factory=JointConfig)
    auto_leave: bool = False
    """The joint configuration is left automatically, as soon as it is applied."""
    learners: MajorityConfig = field(default_factory=MajorityConfig)
    learners_next: MajorityConfig = field(default_factory=MajorityConfig)

    def __str__(self) -> str:
        words = [f"voters={self.voters}"]
        words += [f"learners={self.learners}"] if self.learners else []
        words += [f"learners_next={self.learners_next}"] if self.learners_next else []
        words += ["autoleave"] if self.auto_leave else []
        return " ".join(words)

    def joint(self) -> bool:
        """Returns whether the cluster is between two configurations, which must both agree."""
        return bool(self.voters.outgoing)


def progress_text(progress: dict[int, Progress]) -> str:
    """Returns a line for each member, by id."""
    return "".join(f"{member}: {progress[member]}\n" for member in sorted(progress))


@dataclass(slots=True, kw_only=True)
class ProgressTracker:
    """The configuration, each member's progress and the votes of the current election.

    `progress` has exactly the members of `config`; `Changer` returns both together.
    """

    inflight_messages_max: int
    inflight_bytes_max: int = 0
    """0: no limit."""
    config: Config = field(default_factory=Config)
    progress: dict[int, Progress] = field(default_factory=dict)
    votes: dict[int, bool] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[int, Progress]]:
        """Yields every member with its progress, by id."""
        return iter(sorted(self.progress.items(), key=lambda item: item[0]))

    def conf_state(self) -> ConfState:
        """Returns the configuration in the form of snapshots."""
        config = self.config
        return ConfState(
            voters=config.voters.incoming.ids(),
            voters_outgoing=config.voters.outgoing.ids(),
            learners=config.learners.ids(),
            learners_next=config.learners_next.ids(),
            auto_leave=config.auto_leave,
        )

    def is_singleton(self) -> bool:
        """Returns whether the cluster has one voter, which so decides alone."""
        return len(self.config.voters.incoming) == 1 and not self.config.joint()

    def committed(self) -> int:
        """Returns the highest index that a quorum of voters has (section 5.3); the caller compares its term (section
        5.4.2)."""
        return self.config.voters.committed_index(self._match)

    def quorum_active(self) -> bool:
        """Returns whether a quorum of voters was heard from since `recent_active` was last cleared (dissertation
        section 6.2)."""
        active = {member: pr.recent_active for member, pr in self.progress.items() if not pr.is_learner}
        return self.config.voters.vote_result(active) is VoteResult.WON

    def voter_ids(self) -> list[int]:
        """Returns the voters of both halves, sorted."""
        return self.config.voters.ids()

    def reset_votes(self) -> None:
        """Begins a new election."""
        self.votes = {}

    def record_vote(self, member: int, granted: bool) -> None:
        """Records a member's answer. Only its first one counts."""
        self.votes.setdefault(member, granted)

    def tally_votes(self) -> tuple[int, int, VoteResult]:
        """Returns how many voters have granted, how many have rejected, and how the election stands."""
        cast = [self.votes[m] for m, pr in self.progress.items() if not pr.is_learner and m in self.votes]
        granted = sum(cast)
        return granted, len(cast) - granted, self.config.voters.vote_result(self.votes)

    def _match(self, member: int) -> int | None:
        progress = self.progress.get(member)
        return None if progress is None else progress.match
