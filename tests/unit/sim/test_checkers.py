"""Each checker holds on a good history and fails on a bad one: a check that cannot fail checks nothing."""

from __future__ import annotations

import dataclasses

import pytest

from rube.sim.checkers import (
    Attempt,
    Commit,
    Cut,
    Delivery,
    Disturbance,
    History,
    LogEntry,
    Outcome,
    Sample,
    StatusPair,
    Transition,
    UnitProbe,
    Verdict,
    WatchEvent,
    acknowledged_writes,
    converged,
    local_autonomy,
    never_on_two_nodes,
    revisions_monotonic,
    status_reported,
    summarize_latency,
    unit_state,
    watch_latency,
    watch_promises,
)

S = 1_000_000_000


def _put(key: str, revision: int, at_s: int, client: str = "user") -> Attempt:
    return Attempt(
        client=client,
        kind="put",
        keys=(key,),
        start_ns=at_s * S,
        end_ns=at_s * S + S // 2,
        outcome=Outcome.OK,
        revision=revision,
        object_revisions=(revision,),
    )


def _told(revision: int, *events: WatchEvent, initial: bool = False, at_s: int = 1) -> Delivery:
    return Delivery(observer="o-1", at_ns=at_s * S, session=1, initial=initial, events=tuple(events), revision=revision)


def _watched(*deliveries: Delivery) -> History:
    """The log: a at 1, a and b at 2 (one transaction), a deleted at 3."""
    return History(
        log=[LogEntry(1, "a", False), LogEntry(2, "a", False), LogEntry(2, "b", False), LogEntry(3, "a", True)],
        final={"b": 2},
        deliveries=list(deliveries),
    )


A1, A2, B2, A3 = (
    WatchEvent(1, "a", False),
    WatchEvent(2, "a", False),
    WatchEvent(2, "b", False),
    WatchEvent(3, "a", True),
)
FIRST = _told(0, initial=True)


def test_watch_promises_hold() -> None:
    verdict = watch_promises(_watched(FIRST, _told(1, A1), _told(2, A2, B2), _told(3, A3)))
    assert verdict.passed, verdict
    assert watch_promises(_watched(_told(1, A1, initial=True), _told(3, A2, B2, A3))).passed


@pytest.mark.parametrize(
    ("deliveries", "part"),
    [
        ([FIRST, _told(1, A1), _told(3, A3)], "without update of a at revision 2"),
        ([FIRST, _told(1, A1), _told(1, A1), _told(3, A2, B2, A3)], "told again or too late"),
        ([FIRST, _told(0, A2, B2), _told(0, A1), _told(3, A3)], "without update of a at revision 1"),
        ([FIRST, _told(1, A1), _told(1, A2), _told(3, B2, A3)], "only a part of its revision"),
        ([FIRST, _told(1, A1), _told(2, A2, B2)], "ended with a at revision 2"),
        ([FIRST, _told(2, A1, A2, B2), _told(1), _told(3, A3)], "went back from revision 2 to 1"),
        ([FIRST, _told(3, A1, A2, B2, WatchEvent(3, "c", False), A3)], "not in the log at this place"),
        ([FIRST, _told(2), _told(3, A1, A2, B2, A3)], "everything up to 2 was said to be delivered"),
    ],
)
def test_watch_promises_broken(deliveries: list[Delivery], part: str) -> None:
    _violated(watch_promises(_watched(*deliveries)), part)


def test_nobody_watched_is_no_success() -> None:
    assert not watch_promises(History()).passed


def test_acknowledged_writes_hold() -> None:
    history = History(
        attempts=[_put("a", 1, 1), _put("a", 2, 2)],
        log=[LogEntry(1, "a", False), LogEntry(2, "a", False)],
        final={"a": 2},
    )
    assert acknowledged_writes(history).passed


def test_an_acknowledged_write_that_is_gone_is_found() -> None:
    history = History(attempts=[_put("a", 1, 1), _put("b", 2, 2)], log=[LogEntry(1, "a", False)], final={"a": 1})
    _violated(acknowledged_writes(history), "put of b at revision 2 was acknowledged, but")


def test_an_acknowledged_delete_that_is_undone_is_found() -> None:
    delete = dataclasses.replace(_put("a", 2, 2), kind="delete", object_revisions=())
    history = History(attempts=[delete], log=[LogEntry(1, "a", False), LogEntry(2, "a", True)], final={"a": 1})
    _violated(acknowledged_writes(history), "the store shows 1")


def test_a_write_of_unknown_outcome_may_be_lost() -> None:
    unknown = dataclasses.replace(_put("b", 2, 2), outcome=Outcome.UNKNOWN)
    history = History(attempts=[_put("a", 1, 1), unknown], log=[LogEntry(1, "a", False)], final={"a": 1})
    assert acknowledged_writes(history).passed


def test_revisions_monotonic() -> None:
    assert revisions_monotonic(History(commits=[Commit(1, 1), Commit(2, 5)])).passed
    _violated(
        revisions_monotonic(History(commits=[Commit(1, 5), Commit(2, 4)])), "commit at revision 4, after one at 5"
    )
    _violated(
        revisions_monotonic(History(commits=[Commit(1, 5), Commit(2, 5)])), "commit at revision 5, after one at 5"
    )


def test_commits_of_one_instant_may_be_acknowledged_in_any_order() -> None:
    assert revisions_monotonic(History(commits=[Commit(1, 3), Commit(1, 2), Commit(2, 4)])).passed


def test_commits_of_two_apiservers_may_be_acknowledged_in_any_order_while_both_are_under_way() -> None:
    late = Commit(5, 3, begun_ns=1)
    assert revisions_monotonic(History(commits=[Commit(4, 4, begun_ns=2), late])).passed
    _violated(
        revisions_monotonic(History(commits=[Commit(4, 4, begun_ns=2), Commit(6, 3, begun_ns=5)])),
        "commit at revision 3, after one at 4",
    )
    _violated(revisions_monotonic(History(commits=[Commit(4, 3, begun_ns=2), late])), "2 commits at revision 3")


def test_an_answer_older_than_an_earlier_one_is_found() -> None:
    history = History(attempts=[_put("a", 7, 1, "first"), _put("b", 6, 2, "second")])
    _violated(revisions_monotonic(history), "second was answered revision 6, though first had been answered 7")
    overlapping = dataclasses.replace(history.attempts[1], start_ns=S)
    assert revisions_monotonic(History(attempts=[history.attempts[0], overlapping])).passed


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


def test_unit_state() -> None:
    history = History(
        probes=[UnitProbe(at_ns=3 * S, node="n1", unit="default/web", state="active", starts=2, cut_off=False)]
    )
    assert _probed(history, starts_min=2).passed
    _violated(_probed(history, state="failed"), "is active on n1")
    _violated(_probed(history, starts_min=3), "was started 2 times")
    _violated(_probed(history, cut_off=True), "n1 is not cut off")
    assert not _probed(history, at_ns=4 * S).passed


def test_watch_latency() -> None:
    history = _watched(FIRST, _told(1, A1), _told(2, A2, B2, at_s=3))
    history.commits = [Commit(S - 1_000_000, 1), Commit(2 * S, 2)]
    (overall, own) = summarize_latency(history)
    assert (overall.watcher, overall.events, overall.p50_ns, overall.max_ns) == ("all", 3, S, S)
    assert own.watcher == "o-1"
    assert watch_latency(history, percent=30, below_ns=2_000_000).passed
    _violated(watch_latency(history, percent=99, below_ns=S // 2), "o-1 was told revision 2 after 1000.000 ms")
    assert not watch_latency(History(), percent=99, below_ns=S).passed


def test_a_watcher_that_hears_before_the_other_apiserver_does_has_waited_for_nothing() -> None:
    history = _watched(FIRST, _told(1, A1))
    history.commits = [Commit(S + 5, 1)]
    assert summarize_latency(history)[0].max_ns == 0


def test_only_the_first_offending_events_are_shown() -> None:
    history = History(samples=[Sample(S, tuple(f"unit {number}" for number in range(100)))], end_ns=S)
    verdict = converged(history, 0)
    assert len(verdict.offending) == 9
    assert verdict.offending[-1] == "…"


def _violated(verdict: Verdict, part: str) -> None:
    assert not verdict.passed, verdict
    assert any(part in line for line in verdict.offending), verdict
