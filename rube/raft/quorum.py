"""Quorums: majorities of one configuration, or of both halves of a joint one (paper section 6).

Pure functions of sets of member ids: which log index is on a quorum, and how a vote stands.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import NamedTuple

INDEX_MAX = 2**64 - 1
"""A number above every log index: a configuration without voters commits it."""

AckedIndex = Callable[[int], int | None]
"""Returns the index that a voter has acknowledged; None if it has not reported. A dict's `get` is one."""


class VoteResult(enum.Enum):
    """The state of a vote. The values are the names that etcd prints."""

    PENDING = "VotePending"
    """Later votes decide."""
    LOST = "VoteLost"
    """A quorum can no longer say yes."""
    WON = "VoteWon"
    """A quorum has said yes."""

    def __str__(self) -> str:
        return self.value


class MajorityConfig(frozenset[int]):
    """Voters that decide by majority. Without voters it agrees to everything, so an empty half does not count."""

    __slots__ = ()

    def __str__(self) -> str:
        return "(" + " ".join(f"{voter:x}" for voter in self.ids()) + ")"

    def ids(self) -> list[int]:
        """Returns the voters, sorted."""
        return sorted(self)

    def committed_index(self, acked: AckedIndex) -> int:
        """Returns the largest index that more than half of the voters have acknowledged; a voter that has not reported
        counts as 0."""
        if not self:
            return INDEX_MAX
        indexes = sorted(acked(voter) or 0 for voter in self)
        return indexes[(len(indexes) - 1) // 2]

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Returns how a vote stands; ids in `votes` that are not voters do not count."""
        if not self:
            return VoteResult.WON
        cast = [votes[voter] for voter in self if voter in votes]
        granted, missing = sum(cast), len(self) - len(cast)
        quorum = len(self) // 2 + 1
        if granted >= quorum:
            return VoteResult.WON
        return VoteResult.PENDING if granted + missing >= quorum else VoteResult.LOST

    def describe(self, acked: AckedIndex) -> str:
        """Returns a line for each voter with its index, and a bar as long as the number of voters that are behind
        it."""
        if not self:
            return "<empty majority quorum>"
        indexes = {voter: acked(voter) for voter in self.ids()}
        width = len(indexes)
        lines = [" " * width + "    idx\n"]
        for voter, index in indexes.items():
            behind = sum((other or 0) < (index or 0) for other in indexes.values())
            bar = "?" + " " * width if index is None else "x" * behind + ">" + " " * (width - behind)
            lines.append(f"{bar} {index or 0:>5}    (id={voter:x})\n")
        return "".join(lines)


class JointConfig(NamedTuple):
    """Two majorities that must both agree (paper section 6, C_old,new). Without outgoing voters: a plain majority."""

    incoming: MajorityConfig = MajorityConfig()
    outgoing: MajorityConfig = MajorityConfig()

    def __str__(self) -> str:
        return f"{self.incoming}&&{self.outgoing}" if self.outgoing else str(self.incoming)

    def ids(self) -> list[int]:
        """Returns the voters of both halves, sorted."""
        return sorted(self.incoming | self.outgoing)

    def committed_index(self, acked: AckedIndex) -> int:
        """Returns the largest index that is committed in both halves."""
        return min(self.incoming.committed_index(acked), self.outgoing.committed_index(acked))

    def vote_result(self, votes: Mapping[int, bool]) -> VoteResult:
        """Returns WON when both halves are won, LOST as soon as one is lost."""
        results = (self.incoming.vote_result(votes), self.outgoing.vote_result(votes))
        for result in (VoteResult.LOST, VoteResult.PENDING):
            if result in results:
                return result
        return VoteResult.WON

    def describe(self, acked: AckedIndex) -> str:
        """Returns `MajorityConfig.describe` of the voters of both halves."""
        return MajorityConfig(self.ids()).describe(acked)
