"""The checks of clients that follow: where they resume, what handlers get, and where their watches go next."""

from __future__ import annotations

import pytest

from rube.api import GetRequest, Key, ListRequest, WatchRequest
from rube.api.errors import DeadlineExceededError, UnavailableError
from rube.sim import judges
from rube.sim.judges import Attempt, Content, Delivery, Follower, History, Outcome, Stream, Told
from tests.unit.sim.judge_history import UNIT, S, Tale, key_of


@pytest.mark.parametrize(
    ("position", "says"),
    [
        ((7, "s"), ""),
        ((7, ""), "goes on from revision 7 of no store in particular, which its client was not told"),
        ((8, "s"), "goes on from revision 8 of store s, which its client was not told"),
        ((7, "t"), "goes on from revision 7 of store t, which its client was not told"),
    ],
)
def test_a_watch_goes_on_from_where_its_client_was(position: tuple[int, str], says: str) -> None:
    revision, store_id = position
    first = Stream(client="n", request=WatchRequest(type=UNIT, send_initial=True), start_ns=0)
    first.deliveries.append(Delivery(at_ns=S, events=(), revision=7, store_id="s", initial_end=True))
    request = WatchRequest(type=UNIT, after_revision=revision, store_id=store_id)
    verdict = judges.positions(History(streams=[first, Stream(client="n", request=request, start_ns=2 * S)]))
    assert verdict.passed is not bool(says)
    assert says in "".join(verdict.offending)


@pytest.mark.parametrize(("selector", "client", "start_s"), [("a=b", "n", 2), ("", "other", 2), ("", "n", 0)])
def test_what_another_watch_was_told_is_no_position(selector: str, client: str, start_s: int) -> None:
    first = Stream(client="n", request=WatchRequest(type=UNIT), start_ns=0)
    first.deliveries.append(Delivery(at_ns=S, events=(), revision=7, store_id="s"))
    request = WatchRequest(type=UNIT, after_revision=7, store_id="s", label_selector=selector)
    streams = [first, Stream(client=client, request=request, start_ns=start_s * S)]
    assert not judges.positions(History(streams=streams)).passed


@pytest.mark.parametrize(("revision", "passed"), [(8, True), (9, True), (7, False)])
def test_nobody_is_shown_what_is_older_than_was_asked_for(revision: int, passed: bool) -> None:
    request = GetRequest(key=Key(type=UNIT, name="web"), min_revision=8)
    read = Attempt(client="u", kind="get", request=request, start_ns=0, outcome=Outcome.OK, revision=revision)
    assert judges.positions(History(attempts=[read])).passed is passed


def test_handlers_are_told_the_changes_of_one_copy() -> None:
    tale = Tale()
    one, two = tale.version("web", 1), tale.version("web", 2)
    chains: dict[str, list[tuple[Content | None, Content | None]]] = {
        "": [(None, one), (one, two), (two, None), (None, one)],
        "had been nothing, after it was told of revision 1": [(None, one), (None, two)],
        "had been revision 1 of web-1, after it was told of nothing": [(None, one), (one, None), (one, two)],
        "is nothing, as before": [(None, one), (one, None), (None, None)],
    }
    for says, chain in chains.items():
        follower = Follower("f", told=[Told(S, key_of("web"), old, new) for old, new in chain])
        verdict = judges.followers(History(followers=[follower]))
        assert verdict.passed is not bool(says)
        assert says in "".join(verdict.offending)


@pytest.mark.parametrize(
    ("server", "start_s", "told_by", "told_at_s", "passed"),
    [
        ("b", 21, "b", [19, 23], True),
        ("a", 21, "b", [19, 23], False),
        ("b", 26, "b", [19, 23], False),
        ("b", 26, "b", [19], True),
        ("b", 26, "b", [23], True),
        ("a", 21, "c", [19, 23], True),
        ("c", 26, "c", [19, 23], True),
    ],
)
def test_a_watch_that_failed_goes_on_at_the_next_server(
    server: str, start_s: int, told_by: str, told_at_s: list[int], passed: bool
) -> None:
    request = WatchRequest(type=UNIT)
    failed = Stream(client="f", request=request, start_ns=0, server="a", end_ns=20 * S)
    failed.error = UnavailableError("no answer")
    beside = Stream(client="o", request=request, start_ns=0, server=told_by)
    beside.deliveries += [Delivery(at_ns=at_s * S, events=(), revision=7) for at_s in told_at_s]
    streams = [failed, beside, Stream(client="f", request=request, start_ns=start_s * S, server=server)]
    history = History(streams=streams, followers=[Follower("f", "o", ["a", "b", "c"])])
    assert judges.clients(history).passed is passed


@pytest.mark.parametrize(
    ("server", "after_ms", "targets", "passed"),
    [("a", 90, ["a", "b"], False), ("b", 90, ["a", "b"], True), ("a", 900, ["a", "b"], True), ("a", 90, ["a"], True)],
)
def test_a_call_that_failed_goes_to_another_server(
    server: str, after_ms: int, targets: list[str], passed: bool
) -> None:
    attempts = [
        Attempt(client="f", kind="list", request=ListRequest(type=UNIT), start_ns=at_ns, server=where)
        for at_ns, where in ((0, "a"), (5 * S + after_ms * S // 1000, server))
    ]
    attempts[0].end_ns, attempts[0].error = 5 * S, DeadlineExceededError("no answer")
    history = History(attempts=attempts, followers=[Follower("f", "o", targets)])
    assert judges.clients(history).passed is passed
