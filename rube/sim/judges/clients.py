"""The promises of rube.client: a call that may have been carried out is sent again only if that does no harm, and a
call without an answer goes to another server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from rube.api import PutRequest
from rube.api.errors import DeadlineExceededError, UnavailableError
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Outcome
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "clients"


def clients(history: History) -> Verdict:
    """Checks users whose calls are counted: within a call no write without a condition is sent again after an attempt
    that may have been carried out; and after a failed attempt the next goes to another server, if one answers."""
    by_client: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if attempt.call:
            by_client[attempt.client].append(attempt)
    calls = sum(len({attempt.call for attempt in attempts}) for attempts in by_client.values())
    alive = [attempt for attempt in history.attempts if attempt.user and attempt.outcome is Outcome.OK]
    return judge(
        CHECK,
        f"{many(calls, 'call')} of clients were repeated where that does no harm, at servers that answer",
        (
            line
            for attempts in by_client.values()
            for before, after in pairwise(attempts)
            for line in (*_again(before, after), *_stays(before, after, alive))
        ),
        "a client repeated what may have been done, or stayed with a server that does not answer",
    )


def _again(before: Attempt, after: Attempt) -> Iterator[str]:
    if before.call == after.call and before.outcome is Outcome.UNKNOWN and not _is_harmless(after):
        yield f"{after.where} was sent again by its client, and may have been done before"


def _is_harmless(attempt: Attempt) -> bool:
    """A read, or a put whose objects all name the revision that they replace."""
    request = attempt.request
    if isinstance(request, PutRequest):
        return all(obj.metadata.revision for obj in request.objects)
    return not attempt.is_write


def _stays(before: Attempt, after: Attempt, alive: list[Attempt]) -> Iterator[str]:
    failed = isinstance(before.error, (UnavailableError, DeadlineExceededError))
    if not failed or before.server != after.server or after.outcome is Outcome.OK:
        return
    others = _answering(before, alive) & _answering(after, alive) - {before.server}
    if others:
        yield f"{after.where} went to {after.server}, which had not answered just before, and {min(others)} did"


def _answering(attempt: Attempt, alive: list[Attempt]) -> set[str]:
    """The servers that answered users while it waited."""
    end_ns = attempt.end_ns or attempt.start_ns
    return {
        other.server
        for other in alive
        if attempt.start_ns <= other.start_ns and other.end_ns is not None and other.end_ns <= end_ns
    }
