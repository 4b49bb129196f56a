"""The calls that may be repeated, and the waits between."""

from __future__ import annotations

import random

import pytest

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    Key,
    ListRequest,
    Metadata,
    Object,
    PatchRequest,
    Precondition,
    PutRequest,
    Unit,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.errors import (
    AbortedError,
    DeadlineExceededError,
    NotDoneError,
    NotSentError,
    RubeError,
    UnavailableError,
    decode_error,
    encode_error,
)
from rube.api.types import pack
from rube.client.retries import Request, is_unknown, may_repeat, outcome
from rube.host.backoff import Backoff

KEY = Key(type="api.systemd.Unit", namespace="system", name="a")
OTHER = Key(type="api.systemd.Unit", namespace="system", name="b")
LOST = UnavailableError("Socket closed")
REFUSED = NotDoneError("this apiserver is stopping")
NEVER_SENT = NotSentError("there is no connection to db.example:7823", why="Domain name not found")
WORDS = (
    "failed to connect to all addresses; last error: connection refused",
    "the store answered nothing ([Errno 111] Connection refused): the write may have happened",
    "Connect call failed ('127.0.0.1', 2379)",
    "errors resolving db.example:7823: [Domain name not found]",
    "DNS resolution failed for db.example",
)
"""Answers of servers, the stores behind them and both kinds of loops to writes that may have happened."""


def unit(name: str, revision: int = 0, uid: str = "") -> Object:
    metadata = Metadata(namespace="system", name=name, revision=revision, uid=uid)
    return Object(metadata=metadata, spec=pack(Unit()))


REPEATABLE: list[Request] = [
    GetRequest(key=KEY),
    ListRequest(),
    PutRequest(objects=[unit("a", revision=3)]),
    PutRequest(objects=[unit("a")], preconditions=[Precondition(absent=True)]),
    PutRequest(objects=[unit("a", revision=3), unit("b")], preconditions=[Precondition(key=OTHER, revision=1)]),
    PutRequest(objects=[unit("a")], validate_only=True),
    PatchRequest(object=unit("a", revision=3)),
    PatchRequest(object=unit("a"), preconditions=[Precondition(revision=3)]),
    PatchRequest(object=unit("a"), validate_only=True),
    ApplyRequest(objects=[unit("a", revision=3)], owner="x"),
    ApplyRequest(objects=[unit("a")], owner="x", preconditions=[Precondition(absent=True)]),
    ApplyRequest(objects=[unit("a"), unit("b")], owner="x", validate_only=True),
    DeleteRequest(keys=[KEY], preconditions=[Precondition(uid="x")]),
    UpdateStatusRequest(key=KEY, uid="x"),
    UpdateStatusRequest(key=KEY, validate_only=True),
    UpdateLifecycleRequest(key=KEY, add_finalizers=["example.com/x"], validate_only=True),
    PutRequest(objects=[unit("a")], request_id="x"),
    DeleteRequest(keys=[KEY], request_id="x"),
    UpdateLifecycleRequest(key=KEY, add_finalizers=["example.com/x"], request_id="x"),
]
UNCONDITIONAL: list[Request] = [
    PutRequest(objects=[unit("a")]),
    # The uid stays the same after a success: a repeated put could undo what came between.
    PutRequest(objects=[unit("a", uid="x")]),
    PutRequest(objects=[unit("a")], preconditions=[Precondition(uid="x")]),
    PutRequest(objects=[unit("a", revision=3), unit("b")]),
    PutRequest(objects=[unit("a")], preconditions=[Precondition(key=OTHER, revision=1)]),
    PatchRequest(object=unit("a")),
    PatchRequest(object=unit("a", uid="x")),
    # A repeated apply could make an object anew that was deleted in between, or undo the owner's own next one.
    ApplyRequest(objects=[unit("a")], owner="x"),
    ApplyRequest(objects=[unit("a", revision=3), unit("b")], owner="x"),
    DeleteRequest(keys=[KEY]),
    DeleteRequest(keys=[KEY, OTHER], preconditions=[Precondition(key=KEY, uid="x")]),
    UpdateStatusRequest(key=KEY),
]


@pytest.mark.parametrize("error", [LOST, NEVER_SENT, DeadlineExceededError("late")])
@pytest.mark.parametrize("request_", REPEATABLE)
def test_reads_and_conditional_writes_are_repeated(request_: Request, error: RubeError) -> None:
    assert may_repeat(request_, error)


@pytest.mark.parametrize("request_", UNCONDITIONAL)
def test_other_writes_are_repeated_only_if_nothing_can_have_been_done(request_: Request) -> None:
    assert may_repeat(request_, NEVER_SENT)
    assert may_repeat(request_, REFUSED)
    assert not may_repeat(request_, LOST)
    assert not may_repeat(request_, DeadlineExceededError("late"))


@pytest.mark.parametrize("words", WORDS)
def test_text_never_says_that_a_write_was_not_sent(words: str) -> None:
    for error in (UnavailableError(words), UnavailableError(words, refused="true"), DeadlineExceededError(words)):
        assert is_unknown(error)
        assert not may_repeat(PutRequest(objects=[unit("a")]), error)


def test_what_a_server_did_not_do_passes_the_wire_and_what_it_did_not_send_does_not() -> None:
    assert type(decode_error("UNAVAILABLE", "m", encode_error(REFUSED))) is NotDoneError
    assert type(decode_error("UNAVAILABLE", "m", encode_error(NEVER_SENT))) is UnavailableError
    assert type(decode_error("UNAVAILABLE", "m")) is UnavailableError


@pytest.mark.parametrize("last", [REFUSED, NEVER_SENT])
def test_an_unknown_attempt_wins_over_later_ones_that_did_nothing(last: RubeError) -> None:
    put = PutRequest(objects=[unit("a", revision=3)])
    told = outcome(put, last, LOST)
    assert is_unknown(told)
    assert "may have been carried out (Socket closed)" in told.message
    assert outcome(put, last, None) is last
    assert outcome(GetRequest(key=KEY), last, LOST) is last
    stale = AbortedError("stale")
    assert outcome(put, stale, LOST) is stale


def test_an_answer_is_final() -> None:
    assert not may_repeat(GetRequest(key=KEY), AbortedError("stale"))


def test_delays_double_to_a_maximum_with_jitter_and_begin_anew() -> None:
    backoff = Backoff(random.Random(1), initial_s=1.0, max_s=5.0)
    for bound_s in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert bound_s / 2 <= backoff.next_s() <= bound_s
    backoff.reset()
    assert backoff.next_s() <= 1.0
