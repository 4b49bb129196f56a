"""What Raft promises of a replicated group."""

from __future__ import annotations

from rube.raft.invariants import Invariant
from rube.sim.judges.history import History
from rube.sim.judges.verdict import Verdict, judge, many, time_text


def raft_invariants(history: History) -> Verdict:
    """Every invariant of rube.raft.invariants held at every step of every member, as an observer of all saw it."""
    group = history.group
    if not group.leaderships:
        return Verdict(check="raft_invariants", passed=False, text="nobody ever led a replicated group")
    elected = f"{many(group.elections, 'election')}, {many(len(group.leaderships), 'leader')}"
    return judge(
        "raft_invariants",
        f"all {len(Invariant)} held at {group.steps} steps of the members ({elected})",
        (f"{time_text(at_ns)} {text}" for at_ns, text in group.broken),
        "an invariant of Raft was broken",
    )
