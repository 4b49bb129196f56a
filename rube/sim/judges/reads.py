"""The promises of reads: the objects as they were at the answer's revision, which is new enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from rube.api import GetRequest, ListRequest
from rube.api.errors import NotFoundError
from rube.sim.judges.contents import Content, difference
from rube.sim.judges.history import History
from rube.sim.judges.order import Order
from rube.sim.judges.records import Attempt, Outcome
from rube.sim.judges.selection import Selection
from rube.sim.judges.verdict import Verdict, judge, many, time_text

CHECK = "reads"


def reads(history: History) -> Verdict:
    """Every get and list of every client, also one that found nothing, against the history of contents."""
    judged = [attempt for attempt in history.attempts if attempt.kind in ("get", "list") and _is_answer(attempt)]
    return judge(
        CHECK,
        f"{many(len(judged), 'answer')} showed the store's content at their revisions, new enough",
        _Reads(history).judge(judged),
        "a read got a wrong answer",
    )


def _is_answer(attempt: Attempt) -> bool:
    return attempt.outcome is Outcome.OK or isinstance(attempt.error, NotFoundError)


class _Reads:
    def __init__(self, history: History) -> None:
        self._timeline = history.timeline
        self._order = Order(history)
        # By client, filter and page token: the list that the token continues, and its objects so far.
        self._lists: dict[tuple[str, Selection, str], tuple[int, tuple[Content, ...]]] = {}

    def judge(self, attempts: list[Attempt]) -> Iterator[str]:
        for attempt in attempts:
            if attempt.kind == "list":
                yield from self._list(attempt)
            else:
                yield from self._get(attempt)

    def _get(self, attempt: Attempt) -> Iterator[str]:
        (key,) = attempt.keys
        if attempt.outcome is not Outcome.OK:
            yield from self._absent(attempt, key)
            return
        yield from self._age(attempt, attempt.revision)
        (found,) = attempt.objects
        yield from compared(
            f"{attempt.where} at revision {attempt.revision}", self._timeline.at(key, attempt.revision), found
        )

    def _absent(self, attempt: Attempt, key: str) -> Iterator[str]:
        assert attempt.error is not None
        told = attempt.error.metadata.get("revision", "")
        if not told.isdigit():
            yield f"{attempt.where} was answered NOT_FOUND without a revision"
            return
        yield from self._age(attempt, int(told))
        if (there := self._timeline.at(key, int(told))) is not None:
            yield f"{attempt.where} was answered NOT_FOUND at revision {told}, but it existed since {there.revision}"

    def _age(self, attempt: Attempt, revision: int) -> Iterator[str]:
        """An answer is as new as was asked for: as all that was known before, or as the revision that was named."""
        request = attempt.request
        assert isinstance(request, GetRequest | ListRequest)
        if revision > self._timeline.revision:
            yield f"{attempt.where} was answered revision {revision}, but the store ends with {self._timeline.revision}"
        if revision < request.min_revision:
            yield f"{attempt.where} was answered revision {revision}, but asked for {request.min_revision} or later"
        if request.revision and revision != request.revision:
            yield f"{attempt.where} was answered revision {revision}, but asked for exactly {request.revision}"
        if request.revision or (request.min_revision and attempt.age_ns is None):
            return
        # A read that asks for the newest gets it from a relay, too.
        age_ns = attempt.age_ns if request.min_revision else None
        start_ns = attempt.start_ns
        known = self._order.known_before(start_ns) if age_ns is None else self._order.known_at_age(start_ns, age_ns)
        if revision < known.revision:
            yield (
                f"{attempt.where} was answered revision {revision}, though {known.who} knew of {known.revision} at "
                f"{time_text(known.at_ns)}"
            )

    def _list(self, attempt: Attempt) -> Iterator[str]:
        request = attempt.request
        assert isinstance(request, ListRequest)
        selection = Selection.of(request)
        before: tuple[Content, ...] = ()
        if not request.page_token:
            yield from self._age(attempt, attempt.revision)
        else:
            first = self._lists.get((attempt.client, selection, request.page_token))
            if first is None:
                yield f"{attempt.where} was answered for a page token that this list was never given"
                return
            revision, before = first
            if attempt.revision != revision:
                yield f"{attempt.where}: a page is of revision {attempt.revision}, the first one of {revision}"
        if request.page_size and len(attempt.objects) > request.page_size:
            yield f"{attempt.where}: {len(attempt.objects)} objects in a page of {request.page_size}"
        listed = (*before, *attempt.objects)
        if attempt.next_page_token:
            self._lists[attempt.client, selection, attempt.next_page_token] = (attempt.revision, listed)
        yield from self._listed(attempt, self._timeline.matching(selection, attempt.revision), listed)

    def _listed(self, attempt: Attempt, expected: Mapping[str, Content], listed: tuple[Content, ...]) -> Iterator[str]:
        where = f"{attempt.where} at revision {attempt.revision}"
        wanted = sorted(expected.values(), key=_place)
        places = [_place(content) for content in listed]
        for earlier, later in pairwise(places):
            if earlier >= later:
                yield f"{where} has {'/'.join(later)} after {'/'.join(earlier)}"
        for content in listed[len(listed) - len(attempt.objects) :]:
            yield from compared(where, expected.get(content.key), content)
        told = {content.key for content in listed}
        last = None if not attempt.next_page_token else max(places, default=("", "", ""))
        for content in wanted:
            if content.key not in told and (last is None or _place(content) < last):
                yield f"{where} does not have {content.key}, which was there"


def _place(content: Content) -> tuple[str, str, str]:
    """Returns the key by which a list is sorted."""
    return content.type, content.obj.metadata.namespace, content.obj.metadata.name


def compared(where: str, expected: Content | None, found: Content) -> Iterator[str]:
    """Yields how a received object differs from the one in the history."""
    if found is expected:
        return
    if expected is None:
        yield f"{where} had {found.key}, which was not there (or did not match)"
    else:
        yield f"{where} had a wrong {found.key}: {difference(expected, found)}"
