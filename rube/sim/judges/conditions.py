"""The promises of conditions: preconditions and fences held when a write was done, and a refusal names the true
state."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api import UpdateStatusRequest
from rube.api.errors import AbortedError, NotFoundError
from rube.sim.judges.contents import Content
from rube.sim.judges.history import History
from rube.sim.judges.model import demands_of, holds, unpack
from rube.sim.judges.order import Order
from rube.sim.judges.records import Attempt, Outcome
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "conditions"
RACES = "retries_max"
"""The words of a server that gave up because others wrote all the time."""


def conditions(history: History) -> Verdict:
    """Checks that every precondition and fence of an acknowledged write held at its revision, and that a refusal for a
    state of an object names a state that was true while the request was under way."""
    writes = [attempt for attempt in history.attempts if attempt.is_write]
    made = sum(bool(demands_of(attempt.request)) or attempt.fence is not None for attempt in writes)
    return judge(
        CHECK,
        f"the preconditions and fences of {many(made, 'write')} were kept",
        _Conditions(history).judge(writes),
        "a write was done, or refused, against its conditions",
    )


class _Conditions:
    def __init__(self, history: History) -> None:
        self._timeline = history.timeline
        self._terms = history.terms
        self._order = Order(history)

    def judge(self, writes: list[Attempt]) -> Iterator[str]:
        for attempt in writes:
            if attempt.outcome is Outcome.OK:
                yield from self._held(attempt)
                yield from self._fenced(attempt)
                yield from self._observed(attempt)
            elif isinstance(attempt.error, AbortedError):
                yield from self._refused(attempt)
            elif isinstance(attempt.error, NotFoundError):
                yield from self._missed(attempt)

    def _held(self, attempt: Attempt) -> Iterator[str]:
        """Right before its revision; or at it, where nothing had to be written."""
        for key, demand in demands_of(attempt.request):
            before = self._timeline.at(key, attempt.revision - 1)
            at = self._timeline.at(key, attempt.revision)
            wrote = any(self._timeline.changed_at(key, attempt.revision) for key in attempt.keys)
            if not (holds(demand, before) if wrote else holds(demand, at)) and not holds(demand, at):
                yield (
                    f"{attempt.where} was done at revision {attempt.revision}, but {key} {_state(before)} there, "
                    f"and it demands {_demand(demand)}"
                )

    def _fenced(self, attempt: Attempt) -> Iterator[str]:
        fence = attempt.fence
        if fence is None:
            return
        written = [term for term in self._terms if term.group == fence.group and term.revision <= attempt.revision]
        newest = max((term.term for term in written), default=0)
        if newest != fence.term:
            yield (
                f"{attempt.where} was done at revision {attempt.revision} by term {fence.term} of {fence.group}, "
                f"though the store's newest term of it is {newest} there"
            )

    def _observed(self, attempt: Attempt) -> Iterator[str]:
        """A status is about a generation that the object has had, and not about an older one than the last status."""
        request = attempt.request
        if not isinstance(request, UpdateStatusRequest) or not request.observed_generation:
            return
        (key,) = attempt.keys
        before = self._timeline.at(key, attempt.revision - 1)
        if before is None:
            return
        status = unpack(before.obj.status, self._timeline.messages) if before.obj.HasField("status") else None
        seen = getattr(status, "observed_generation", 0)
        if not seen <= request.observed_generation <= before.obj.metadata.generation:
            yield (
                f"{attempt.where} was done at revision {attempt.revision}, of generation "
                f"{request.observed_generation}, after one of {seen}, where the object had generation "
                f"{before.obj.metadata.generation}"
            )

    def _refused(self, attempt: Attempt) -> Iterator[str]:
        assert attempt.error is not None
        metadata = attempt.error.metadata
        if "fence" in metadata:
            yield from self._refused_by_fence(attempt, metadata["fence"], int(metadata.get("term", "0")))
            return
        key, told = metadata.get("key", ""), metadata.get("revision", "")
        if not key or not told.isdigit():
            return
        if int(told) not in self._revisions_seen(attempt, key):
            yield f"{attempt.where} was refused for {key} at revision {told}, where it was not at that time"
        current = self._timeline.at(key, int(told)) if int(told) else None
        demands = [demand for about, demand in demands_of(attempt.request) if about == key]
        other = getattr(attempt.request, "observed_generation", 0) or RACES in attempt.error.message
        if not other and all(holds(demand, current) for demand in demands):
            yield f"{attempt.where} was refused, though {key} {_state(current)}, as it demands"

    def _refused_by_fence(self, attempt: Attempt, group: str, told: int) -> Iterator[str]:
        fence = attempt.fence
        written = {term.term for term in self._terms if term.group == group}
        if fence is None or fence.group != group or told <= fence.term or told not in written:
            yield f"{attempt.where} was refused for term {told} of {group}, which has not written, or is not newer"

    def _missed(self, attempt: Attempt) -> Iterator[str]:
        assert attempt.error is not None
        key = attempt.error.metadata.get("key", "")
        if key and 0 not in self._revisions_seen(attempt, key):
            yield f"{attempt.where} was answered NOT_FOUND, but {key} was there all the time"

    def _revisions_seen(self, attempt: Attempt, key: str) -> set[int]:
        """The revisions that an object had while a request was under way; 0: it was not there."""
        first = self._order.known_before(attempt.start_ns).revision
        last = self._order.possible_by(attempt.end_ns or attempt.start_ns)
        start = self._timeline.at(key, first)
        seen = {start.revision if start else 0}
        for revision, content in self._timeline.versions(key):
            if first < revision <= last:
                seen.add(content.revision if content else 0)
        return seen


def _state(there: Content | None) -> str:
    return f"is at revision {there.revision} (uid {there.obj.metadata.uid})" if there else "does not exist"


def _demand(demand: object) -> str:
    return " ".join(str(demand).split())
