"""The revisions of the store that clients know: they go on from where they were, and are not shown what is older."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rube.api import GetRequest, ListRequest
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Outcome, Stream
from rube.sim.judges.selection import Selection
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "positions"


def positions(history: History) -> Verdict:
    """A watch that goes on from a revision names a revision and a store that an earlier watch, or list, of the same
    objects told its client; so it is with those on the client's disk. A client that asks for a revision is shown
    nothing older."""
    resumed = [stream for stream in history.streams if stream.request.after_revision]
    return judge(
        CHECK,
        f"{many(len(resumed), 'resumption')} of watches went on from where the client was, in the store that it knew",
        [*_untold(history), *_older(history)],
        "a watch went on from where its client never was, or a read was answered with what is older",
    )


def _untold(history: History) -> Iterator[str]:
    listed: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        if isinstance(attempt.request, ListRequest) and attempt.outcome is Outcome.OK and not attempt.next_page_token:
            listed[attempt.client, str(Selection.of(attempt.request))].append(attempt)
    told: dict[tuple[str, str], list[Stream]] = defaultdict(list)
    for stream in history.streams:
        place = stream.client, str(Selection.of(stream.request))
        earlier = told[place]
        request = stream.request
        if request.after_revision and not (_was_told(stream, earlier) or _was_listed(stream, listed[place])):
            yield (
                f"{stream.where} goes on from revision {request.after_revision} of "
                f"{f'store {request.store_id}' if request.store_id else 'no store in particular'}, "
                "which its client was not told"
            )
        earlier.append(stream)


def _older(history: History) -> Iterator[str]:
    for attempt in history.attempts:
        request = attempt.request
        if not isinstance(request, (GetRequest, ListRequest)) or attempt.outcome is not Outcome.OK:
            continue
        if attempt.revision < request.min_revision:
            yield f"{attempt.where} asked for revision {request.min_revision}, and was shown {attempt.revision}"


def _was_told(stream: Stream, earlier: list[Stream]) -> bool:
    position = stream.request.after_revision, stream.request.store_id
    return any(
        (delivery.revision, delivery.store_id) == position
        for before in reversed(earlier)
        for delivery in reversed(before.deliveries)
        if delivery.at_ns <= stream.start_ns
    )


def _was_listed(stream: Stream, lists: list[Attempt]) -> bool:
    position = stream.request.after_revision, stream.request.store_id
    return any(
        (attempt.revision, attempt.store_id) == position
        for attempt in lists
        if attempt.end_ns is not None and attempt.end_ns <= stream.start_ns
    )
