"""The expectations of a scenario as calls of judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never

from rube.api.types import Types
from rube.sim import judges
from rube.sim.judges import History, Verdict
from rube.sim.scenario.claims import claim_of, own_verdict
from rube.sim.scenario.scenario_pb2 import Expectation, Scenario

ALWAYS: Mapping[str, Callable[[History], Verdict]] = {
    "reads": judges.reads,
    "watch_promises": partial(judges.watch_promises, asked=False),
    "acknowledged_writes": partial(judges.acknowledged_writes, asked=False),
    "revisions_monotonic": judges.revisions_monotonic,
    "contents": judges.contents,
    "conditions": judges.conditions,
    "fencing": judges.fencing,
    "leases": judges.leases,
    "bindings": judges.bindings,
    "readiness": judges.readiness,
    "starts": judges.starts,
    "owners": judges.owners,
    "orphans": judges.orphans,
    "memories": judges.memories,
    "generations": judges.generations,
    "actions": judges.actions,
    "copies": judges.copies,
    "views": judges.views,
    "clients": judges.clients,
    "positions": judges.positions,
    "followers": judges.followers,
    "defects": judges.defects,
    "comes_to_rest": partial(judges.comes_to_rest, asked=False),
}
"""Checks of every scenario, in the order of the report: what holds of any cluster, whatever it is for."""


def judge_all(scenario: Scenario, history: History, types: Types) -> list[Verdict]:
    """Returns the verdicts of the scenario's expectations, in its order, and then of those of every scenario.

    `types` are those that claims are about.
    """
    verdicts = [judge(expectation, history, types) for expectation in scenario.expect]
    if history.to_refuse:
        verdicts.append(judges.refused(history))
    left_out = {*scenario.unchecked, *(verdict.check for verdict in verdicts)}
    return verdicts + [check(history) for name, check in ALWAYS.items() if name not in left_out]


def judge(expectation: Expectation, history: History, types: Types) -> Verdict:
    """The verdict of the one check that an expectation names."""
    match expectation.WhichOneof("check"):
        case "converged":
            return judges.converged(history, expectation.converged.within.ToNanoseconds())
        case "local_autonomy":
            return judges.local_autonomy(history, expectation.local_autonomy.within.ToNanoseconds())
        case "comes_to_rest":
            return judges.comes_to_rest(history, expectation.comes_to_rest.within.ToNanoseconds())
        case "unit":
            unit = expectation.unit
            return judges.unit_state(
                history,
                at_ns=unit.at.ToNanoseconds(),
                node=unit.node,
                unit=f"{unit.namespace}/{unit.name}",
                state=unit.state,
                cut_off=unit.cut_off,
                starts_min=unit.starts_min,
                starts_max=unit.starts_max,
            )
        case "watch_latency":
            latency = expectation.watch_latency
            return judges.watch_latency(history, percent=latency.percentile, below_ns=latency.below.ToNanoseconds())
        case "watch_promises":
            return judges.watch_promises(history)
        case "acknowledged_writes":
            return judges.acknowledged_writes(history)
        case "revisions_monotonic":
            return judges.revisions_monotonic(history)
        case "never_on_two_nodes":
            return judges.never_on_two_nodes(history)
        case "status_reported":
            return judges.status_reported(history)
        case "raft_invariants":
            return judges.raft_invariants(history)
        case "reads":
            return judges.reads(history)
        case "contents":
            return judges.contents(history)
        case "conditions":
            return judges.conditions(history)
        case "always" | "eventually" | "never":
            return claim_of(expectation).verdict(history, types)
        case "judge":
            return own_verdict(expectation.judge, history)
        case None:
            raise AssertionError("an expectation without check is refused")
        case check:
            assert_never(check)
