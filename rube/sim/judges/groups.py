"""The promises of Raft for a replicated group."""

from __future__ import annotations

from rube.raft.invariants import Invariant
from rube.sim.judges.history import History
from rube.sim.judges.verdict import Verdict, judge, many, time_text


def raft_invariants(history: History) -> Verdict:
    """Every invariant of rube.raft.invariants held at every step of every member, as an observer of all saw it."""
    groups = [group for group in (history.group, history.etcd) if group.steps]
    if not all(group.leaderships for group in groups) or not groups:
        return Verdict(check="raft_invariants", passed=False, text="a replicated group never had a leader")
    leaders = many(sum(len(group.leaderships) for group in groups), "leader")
    elected = f"{many(sum(group.elections for group in groups), 'election')}, {leaders}"
    return judge(
        "raft_invariants",
        f"all {len(Invariant)} held at {sum(group.steps for group in groups)} steps of the members ({elected})",
        (f"{time_text(at_ns)} {text}" for group in groups for at_ns, text in group.broken),
        "an invariant of Raft was broken",
    )
