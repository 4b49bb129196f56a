"""Acknowledged writes are judged against the log, and revisions against what was known before."""

from __future__ import annotations

from rube.api import DeleteRequest, PutRequest
from rube.api.keys import ObjectKey
from rube.sim.judges import (
    Attempt,
    Commit,
    Content,
    History,
    Outcome,
    Verdict,
    acknowledged_writes,
    revisions_monotonic,
)
from tests.unit.sim.judge_history import UNIT, S, Tale, key_of


def _put(tale: Tale, content: Content, at_s: int, client: str = "user", revision: int = 0) -> Attempt:
    return tale.attempt(
        "put",
        PutRequest(objects=[content.obj]),
        at_s,
        client=client,
        revision=revision or content.revision,
        metadata=(content.obj.metadata,),
    )


def test_acknowledged_writes_hold() -> None:
    tale = Tale()
    _put(tale, tale.put(1, "a"), 1)
    _put(tale, tale.put(2, "a"), 2)
    tale.history.final = {key_of("a"): 2}
    verdict = acknowledged_writes(tale.history)
    assert verdict.passed, verdict


def test_an_acknowledged_write_that_is_gone_is_found() -> None:
    tale = Tale()
    _put(tale, tale.put(1, "a"), 1)
    _put(tale, tale.version("b", 2, created=2), 2)
    tale.history.final = {key_of("a"): 1}
    _violated(acknowledged_writes(tale.history), "was acknowledged at revision 2, but the log does not have it")


def test_an_acknowledged_delete_that_is_undone_is_found() -> None:
    tale = Tale()
    tale.put(1, "a")
    tale.delete(2, "a")
    key = ObjectKey(UNIT, "default", "a").to_proto()
    tale.attempt("delete", DeleteRequest(keys=[key]), revision=2)
    tale.history.final = {key_of("a"): 1}
    _violated(acknowledged_writes(tale.history), "the store shows 1")


def test_a_write_of_unknown_outcome_may_be_lost() -> None:
    tale = Tale()
    _put(tale, tale.put(1, "a"), 1)
    _put(tale, tale.version("b", 2, created=2), 2).outcome = Outcome.UNKNOWN
    tale.history.final = {key_of("a"): 1}
    assert acknowledged_writes(tale.history).passed


def test_nothing_written_is_no_success_where_it_was_asked_for() -> None:
    assert not acknowledged_writes(History()).passed
    assert acknowledged_writes(History(), asked=False).passed


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
    tale = Tale()
    _put(tale, tale.put(7, "a", created=7), 1, "first")
    second = _put(tale, tale.put(6, "b", created=6), 2, "second")
    _violated(revisions_monotonic(tale.history), "was answered revision 6, though first knew of 7 at 1.500s")
    second.start_ns = S
    assert not any("though" in line for line in revisions_monotonic(tale.history).offending)


def _violated(verdict: Verdict, part: str) -> None:
    assert not verdict.passed, verdict
    assert any(part in line for line in verdict.offending), verdict
