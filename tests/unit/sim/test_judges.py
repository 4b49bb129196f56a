"""Each judge holds on a good history and fails on a bad one: a check that cannot fail checks nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from rube.sim.judges import (
    Cut,
    Disturbance,
    History,
    Sample,
    StatusPair,
    Transition,
    UnitProbe,
    Verdict,
    converged,
    local_autonomy,
    never_on_two_nodes,
    status_reported,
    unit_state,
)

S = 1_000_000_000


def test_converged() -> None:
    history = History(
        samples=[Sample(10 * S, ("web-1 is failed",)), Sample(12 * S, ()), Sample(14 * S, ())], quiet_ns=10 * S
    )
    verdict = converged(history, 3 * S)
    assert verdict.passed
    assert "within 2.000s" in verdict.text
    _violated(converged(history, S), "web-1 is failed")


def test_converged_for_a_moment_is_not_converged() -> None:
    history = History(samples=[Sample(10 * S, ()), Sample(14 * S, ("web-1 is failed",))], end_ns=14 * S)
    _violated(converged(history, 20 * S), "14.000s web-1 is failed")
    assert not converged(History(), S).passed


def _ran(node: str, at_s: int, running: bool, uid: str = "u") -> Transition:
    return Transition(at_ns=at_s * S, node=node, unit="default/web", uid=uid, running=running)


def test_never_on_two_nodes() -> None:
    moved = [_ran("n1", 1, True), _ran("n1", 2, False), _ran("n2", 3, True), _ran("n2", 4, True)]
    assert never_on_two_nodes(History(transitions=moved)).passed
    doubled = [_ran("n1", 1, True), _ran("n2", 2, True)]
    _violated(never_on_two_nodes(History(transitions=doubled)), "2.000s default/web started on n2 while it ran on n1")
    assert not never_on_two_nodes(History()).passed


def test_a_new_object_of_the_same_name_is_another_unit() -> None:
    history = History(transitions=[_ran("n1", 1, True, "old"), _ran("n2", 2, True, "new")])
    assert never_on_two_nodes(history).passed


def _crashed(*transitions: Transition) -> History:
    return History(
        cuts=[Cut(host="n1", start_ns=5 * S, end_ns=20 * S)],
        disturbances=[Disturbance(at_ns=10 * S, node="n1", unit="default/web", kind="crashed")],
        transitions=[_ran("n1", 1, True), *transitions],
    )


def test_local_autonomy() -> None:
    assert local_autonomy(_crashed(_ran("n1", 10, False), _ran("n1", 12, True)), 5 * S).passed
    _violated(local_autonomy(_crashed(_ran("n1", 10, False)), 5 * S), "never came back")
    _violated(local_autonomy(_crashed(_ran("n1", 10, False), _ran("n1", 18, True)), 5 * S), "was back at 18.000s")
    _violated(local_autonomy(_crashed(_ran("n1", 10, False), _ran("n1", 21, True)), 50 * S), "healed 20.000s")
    _violated(local_autonomy(_crashed(_ran("n1", 12, True)), 5 * S), "never came back")


def test_local_autonomy_without_a_cut_judges_nothing() -> None:
    history = _crashed(_ran("n1", 10, False), _ran("n1", 12, True))
    history.cuts.clear()
    assert not local_autonomy(history, 5 * S).passed


PAIR = StatusPair(
    unit="default/web",
    node="n1",
    generation=2,
    reported_state="active",
    reported_generation=2,
    reported_node="n1",
    actual_state="active",
)


def test_status_reported() -> None:
    assert status_reported(History(statuses=[PAIR])).passed
    for change, part in [
        ({"reported_state": None}, "has no status"),
        ({"actual_state": "failed"}, "is reported active on n1, but is failed on n1"),
        ({"reported_node": "n2"}, "is reported active on n2"),
        ({"reported_generation": 1}, "status of generation 1, the spec is at 2"),
    ]:
        _violated(status_reported(History(statuses=[dataclasses.replace(PAIR, **change)])), part)  # type: ignore[arg-type]
    assert not status_reported(History()).passed


def _probed(history: History, **wanted: object) -> Verdict:
    arguments: dict[str, object] = {"at_ns": 3 * S, "node": "n1", "unit": "default/web", "state": "active", **wanted}
    return unit_state(history, **arguments)  # type: ignore[arg-type]


def _probe(**found: Any) -> UnitProbe:
    there: dict[str, Any] = {"asked": "n1", "node": "n1", "state": "active", "starts": 2, "cut_off": False}
    return UnitProbe(at_ns=3 * S, unit="default/web", **there | found)


def test_a_unit_is_looked_for_wherever_it_is() -> None:
    history = History(probes=[_probe(asked="", node="n2"), _probe(asked="n1", node="n1", state="absent")])
    assert _probed(history, node="", starts_min=2).text == "default/web is active at 3.000s, after 2 or more starts"
    _violated(_probed(history, node="", cut_off=True), "n2 is not cut off")
    _violated(_probed(history, node="", state="failed"), "is active on n2")
    _violated(_probed(history, node="n1"), "is absent on n1")
    nowhere = History(probes=[_probe(asked="", node="", state="absent", starts=0)])
    _violated(_probed(nowhere, node=""), "is absent on every node")


def test_unit_state() -> None:
    history = History(probes=[_probe()])
    assert _probed(history, starts_min=2).passed
    _violated(_probed(history, state="failed"), "is active on n1")
    _violated(_probed(history, starts_min=3), "was started 2 times")
    _violated(_probed(history, cut_off=True), "n1 is not cut off")
    assert not _probed(history, at_ns=4 * S).passed


def test_only_the_first_offending_events_are_shown() -> None:
    history = History(samples=[Sample(S, tuple(f"unit {number}" for number in range(100)))], end_ns=S)
    verdict = converged(history, 0)
    assert len(verdict.offending) == 9
    assert verdict.offending[-1] == "…"


def _violated(verdict: Verdict, part: str) -> None:
    assert not verdict.passed, verdict
    assert any(part in line for line in verdict.offending), verdict
