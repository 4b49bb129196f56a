"""The promises of rube.client: a call that may have been carried out is sent again only if that does no harm, and a
call without an answer goes to another server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from rube.api import ApplyRequest, PatchRequest, PutRequest
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.sim.judges.history import History
from rube.sim.judges.model import demands_of
from rube.sim.judges.records import Attempt, Follower, Outcome, Stream
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "clients"
ALIVE_NS = 2 * NS_PER_S
"""A server that answered a call so shortly before a client lost its own, and after, was there to be asked."""
# A watch that went well for so long goes on elsewhere at once, which is within the other.
WELL_NS = 5 * NS_PER_S
ELSEWHERE_NS = 2_500_000_000
AT_ONCE_NS = 100_000_000


def clients(history: History) -> Verdict:
    """Checks users whose calls are counted: within a call no write without a condition is sent again after an attempt
    that may have been carried out; and after a failed attempt the next goes to another server, if one answers. So does
    a client that follows, and soon."""
    by_client: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if attempt.call:
            by_client[attempt.client].append(attempt)
    calls = sum(len({attempt.call for attempt in attempts}) for attempts in by_client.values())
    alive = [attempt for attempt in history.attempts if attempt.user and attempt.outcome is Outcome.OK]
    return judge(
        CHECK,
        f"{many(calls, 'call')} of clients were repeated where that does no harm, at servers that answer",
        [
            *(
                line
                for attempts in by_client.values()
                for before, after in pairwise(attempts)
                for line in (*_again(before, after), *_stays(before, after, alive))
            ),
            *_followers(history),
        ],
        "a client repeated what may have been done, or stayed with a server that does not answer",
    )


def _again(before: Attempt, after: Attempt) -> Iterator[str]:
    if before.call == after.call and before.outcome is Outcome.UNKNOWN and not _is_harmless(after):
        yield f"{after.where} was sent again by its client, and may have been done before"


def _is_harmless(attempt: Attempt) -> bool:
    """A read, a write with a request_id, or one in which every object has a condition on its revision or absence."""
    request = attempt.request
    if not attempt.is_write or bool(getattr(request, "request_id", False)):
        return True
    if isinstance(request, PutRequest | PatchRequest | ApplyRequest):
        return {key for key, demand in demands_of(request) if demand.revision or demand.absent} >= set(attempt.keys)
    return False


def _stays(before: Attempt, after: Attempt, alive: list[Attempt]) -> Iterator[str]:
    end_ns = before.end_ns
    if end_ns is None or not _is_away(before.error) or before.server != after.server:
        return
    others = {other.server for other in alive} - {before.server}
    answering = {
        other.server
        for other in alive
        if other.start_ns >= end_ns - ALIVE_NS and other.end_ns is not None and other.end_ns <= end_ns + ALIVE_NS
    }
    if others and others <= answering and after.start_ns <= end_ns + ALIVE_NS:
        yield f"{after.where} went to {after.server}, which had not answered just before, and {min(others)} did"


def _is_away(error: RubeError | None) -> bool:
    return isinstance(error, (UnavailableError, DeadlineExceededError))


def _followers(history: History) -> Iterator[str]:
    """Yields what is wrong: another client on their host shows whom they could reach."""
    streams: dict[str, list[Stream]] = defaultdict(list)
    for stream in history.streams:
        streams[stream.client].append(stream)
    attempts: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        attempts[attempt.client].append(attempt)
    for follower in {follower.client: follower for follower in history.followers}.values():
        told, failed = _told(streams[follower.host]), _failed(streams[follower.host])
        for stream, next_stream in pairwise(streams[follower.client]):
            went_well = stream.end_ns is not None and stream.end_ns - stream.start_ns >= WELL_NS
            if went_well and _is_left(follower, stream, told, failed):
                yield from _elsewhere(stream, next_stream)
        for attempt, next_attempt in pairwise(attempts[follower.client]):
            yield from _at_once(attempt, next_attempt, len(follower.targets))


def _told(streams: list[Stream]) -> dict[str, list[int]]:
    """The times at which each server delivered something."""
    told: dict[str, list[int]] = defaultdict(list)
    for stream in streams:
        told[stream.server] += [delivery.at_ns for delivery in stream.deliveries]
    return told


def _at_once(before: Attempt, after: Attempt, servers: int) -> Iterator[str]:
    """A first pause is so short that no other server can have been asked in it."""
    if before.end_ns is None or not _is_away(before.error) or before.server != after.server or servers == 1:
        return
    if after.start_ns - before.end_ns <= AT_ONCE_NS:
        yield f"{after.where} went to {after.server} again, which had not answered just before"


def _failed(streams: list[Stream]) -> dict[str, list[int]]:
    """The times at which each server was found to be away."""
    failed: dict[str, list[int]] = defaultdict(list)
    for stream in streams:
        if stream.end_ns is not None and _is_away(stream.error):
            failed[stream.server].append(stream.end_ns)
    return failed


def _is_left(follower: Follower, stream: Stream, told: dict[str, list[int]], failed: dict[str, list[int]]) -> bool:
    """Returns whether its server gave no answer, and the next one was there before and after that, and not found to be
    away between."""
    end_ns = stream.end_ns
    if end_ns is None or not _is_away(stream.error):
        return False
    following = follower.targets[(follower.targets.index(stream.server) + 1) % len(follower.targets)]
    return (
        following != stream.server
        and not any(end_ns < at_ns <= end_ns + 2 * ALIVE_NS for at_ns in failed[following])
        and any(end_ns - ALIVE_NS <= at_ns <= end_ns for at_ns in told[following])
        and any(end_ns + ALIVE_NS <= at_ns <= end_ns + 2 * ALIVE_NS for at_ns in told[following])
    )


def _elsewhere(before: Stream, after: Stream) -> Iterator[str]:
    late_ns = after.start_ns - (before.end_ns or 0)
    if after.server == before.server or late_ns > ELSEWHERE_NS:
        late = f"{late_ns / NS_PER_S:.3f} s after {before.server} had failed it"
        yield f"{after.where} went on at {after.server} {late}, and the next server was there"
