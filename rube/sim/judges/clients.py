"""The promises of rube.client: a call that may have been carried out is sent again only if that does no harm, and a
call without an answer goes to another server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from rube.api import PutRequest
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Follower, Outcome, Stream
from rube.sim.judges.verdict import Verdict, judge, many, time_text

CHECK = "clients"
# Who answered somebody so shortly before a client lost its server, or after, was there to be asked.
ALIVE_NS = 2 * NS_PER_S
# A watch that went well for so long goes on elsewhere at once, which is within the other.
WELL_NS = 5 * NS_PER_S
ELSEWHERE_NS = 2_500_000_000


def clients(history: History) -> Verdict:
    """Checks users whose calls are counted: within a call no write without a condition is sent again after an attempt
    that may have been carried out; and after a failed attempt the next goes to another server, if one answers. So does
    a watch, and soon."""
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
            *_watches(history),
        ],
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


def _watches(history: History) -> Iterator[str]:
    """Of clients that follow: what another client on their host was told shows whom they could reach."""
    streams: dict[str, list[Stream]] = defaultdict(list)
    for stream in history.streams:
        streams[stream.client].append(stream)
    for follower in {follower.client: follower for follower in history.followers}.values():
        beside = [stream for stream in history.streams if stream.client == follower.host]
        for before, after in pairwise(streams[follower.client]):
            yield from _moves_on(follower, before, after, beside)


def _moves_on(follower: Follower, before: Stream, after: Stream, beside: list[Stream]) -> Iterator[str]:
    end_ns = before.end_ns
    if end_ns is None or not _is_away(before.error) or end_ns - before.start_ns < WELL_NS:
        return
    following = follower.targets[(follower.targets.index(before.server) + 1) % len(follower.targets)]
    late_ns = after.start_ns - end_ns
    if following == before.server or (after.server != before.server and late_ns <= ELSEWHERE_NS):
        return
    if any(
        end_ns - ALIVE_NS <= delivery.at_ns <= end_ns + ALIVE_NS
        for stream in beside
        if stream.server == following
        for delivery in stream.deliveries
    ):
        yield (
            f"{after.where} went on at {after.server} {late_ns / NS_PER_S:.3f} s after {before.server} had failed it "
            f"at {time_text(end_ns)}, and {following} was there"
        )
