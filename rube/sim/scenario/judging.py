"""From the expectations of a scenario to the checkers' verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from rube.sim import checkers
from rube.sim.checkers import History, Verdict
from rube.sim.scenario_pb2 import Expectation, Scenario

# Checks of every scenario, in the order of the report: what holds of any cluster, whatever it is for.
ALWAYS: Mapping[str, Callable[[History], Verdict]] = {
    "reads": checkers.reads,
    "watch_promises": partial(checkers.watch_promises, asked=False),
    "acknowledged_writes": partial(checkers.acknowledged_writes, asked=False),
    "revisions_monotonic": checkers.revisions_monotonic,
    "contents": checkers.contents,
    "conditions": checkers.conditions,
    "fencing": checkers.fencing,
    "leases": checkers.leases,
    "bindings": checkers.bindings,
    "readiness": checkers.readiness,
    "starts": checkers.starts,
    "actions": checkers.actions,
    "copies": checkers.copies,
    "views": checkers.views,
    "defects": checkers.defects,
    "comes_to_rest": partial(checkers.comes_to_rest, asked=False),
}


def judge_all(scenario: Scenario, history: History) -> list[Verdict]:
    """The verdicts of what the scenario expects, in its order, and then of what is expected of every scenario."""
    verdicts = [judge(expectation, history) for expectation in scenario.expect]
    left_out = {*scenario.unchecked, *(verdict.check for verdict in verdicts)}
    return verdicts + [check(history) for name, check in ALWAYS.items() if name not in left_out]


def judge(expectation: Expectation, history: History) -> Verdict:
    """The verdict of the one check that an expectation names."""
    check = expectation.WhichOneof("check")
    if check == "converged":
        return checkers.converged(history, expectation.converged.within.ToNanoseconds())
    if check == "local_autonomy":
        return checkers.local_autonomy(history, expectation.local_autonomy.within.ToNanoseconds())
    if check == "comes_to_rest":
        return checkers.comes_to_rest(history, expectation.comes_to_rest.within.ToNanoseconds())
    if check == "unit":
        unit = expectation.unit
        return checkers.unit_state(
            history,
            at_ns=unit.at.ToNanoseconds(),
            node=unit.node,
            unit=f"{unit.namespace}/{unit.name}",
            state=unit.state,
            cut_off=unit.cut_off,
            starts_min=unit.starts_min,
            starts_max=unit.starts_max,
        )
    if check == "watch_latency":
        latency = expectation.watch_latency
        return checkers.watch_latency(history, percent=latency.percentile, below_ns=latency.below.ToNanoseconds())
    plain = {
        "watch_promises": checkers.watch_promises,
        "acknowledged_writes": checkers.acknowledged_writes,
        "revisions_monotonic": checkers.revisions_monotonic,
        "never_on_two_nodes": checkers.never_on_two_nodes,
        "status_reported": checkers.status_reported,
        "raft_invariants": checkers.raft_invariants,
        "reads": checkers.reads,
        "contents": checkers.contents,
        "conditions": checkers.conditions,
    }
    return plain[check or ""](history)
