"""Who leads: a referee in place of Raft's elections.

The members' logs are replicated by messages and disks as Raft does it; only votes and heartbeats are replaced by one
that sees every host and the network between them. What it remembers stands for the terms and votes that a real member
keeps on its disk. `rube.raft` can take the place of this module and of `consensus`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rube.sim.etcd.log import Log


class Referee:
    """Of one etcd. Members go by their names; `connected` says whether two of them run and reach each other now."""

    def __init__(self, members: Sequence[str], connected: Callable[[str, str], bool]) -> None:
        self.members = tuple(members)
        self._connected = connected
        self._logs: dict[str, Log] = {}
        # The newest term that each has voted in: it takes nothing from leaders of older ones.
        self._promised = dict.fromkeys(members, 0)
        self.term = 0
        self.leader = ""

    @property
    def majority(self) -> int:
        return len(self.members) // 2 + 1

    def joined(self, member: str, log: Log) -> None:
        """A member runs, with this log."""
        self._logs[member] = log
        if self.leader == member:
            self.leader = ""  # an earlier incarnation led

    def promised(self, member: str) -> int:
        """The oldest term whose leader that member still follows."""
        return self._promised[member]

    def leader_seen_by(self, member: str) -> str:
        """The leader, if that member hears of it; otherwise nothing."""
        return self.leader if self.leader and self._connected(member, self.leader) else ""

    def holds(self, member: str, term: int) -> bool:
        """Whether that member leads in that term and reaches a majority, so that no other can have been elected."""
        return (self.leader, self.term) == (member, term) and len(self._reached_by(member)) >= self.majority

    def elect(self, member: str) -> int:
        """The term in which that member leads from now on, if a majority votes for it; otherwise 0.

        A member votes for who has all that it has (the Raft paper, 5.4.1), and not while it hears of a leader.
        """
        log = self._logs[member]
        voters = [
            name
            for name in self._reached_by(member)
            if _place(self._logs[name]) <= _place(log) and not self.leader_seen_by(name)
        ]
        if len(voters) < self.majority:
            return 0
        self.term += 1
        self.leader = member
        self._promised.update(dict.fromkeys(voters, self.term))
        return self.term

    def resign(self, member: str) -> None:
        """That member leads no more."""
        if self.leader == member:
            self.leader = ""

    def _reached_by(self, member: str) -> list[str]:
        """Itself too."""
        return [name for name in self.members if name in self._logs and self._connected(member, name)]


def _place(log: Log) -> tuple[int, int]:
    return log.last_term, log.last_index
