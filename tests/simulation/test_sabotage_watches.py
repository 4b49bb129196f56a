"""Watches that tell what is not so, or not all of it, are found out: initial, resumed, filtered, deletes, bookmarks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from rube.api import Event, WatchRequest, WatchResponse
from rube.api.keys import prefix_bytes, prefix_end
from rube.api.well_known import UNIT_TYPE
from rube.server import events as server_events
from rube.server import feed as server_feed
from rube.server import watch as server_watch
from rube.server.events import EncodedResponse, EventCache, SharedEvent, WatchBounds
from rube.server.watch import Watches
from rube.store import Change, ChangeBatch, Store
from rube.transport import Encoded
from tests.simulation.sabotage import changed, encoded, violated

SCENARIO = """\
name: sabotage
duration: 32s
cluster:
  nodes: {count: 2}
workload:
  observers: 1
  filters:
    - {labels: "node=worker-1"}
    - {labels: "!node"}
    - {namespace: default, name: web-1}
    - {namespace: other}
  steps:
    - {at: 1s, put: {name: "web-{i}", count: 4, node: "worker-{i}"}}
    - {at: 2s, put: {name: "web-{i}", count: 2, namespace: other, node: "worker-{i}"}}
    - {at: 2500ms, put: {name: "pool-{i}", count: 3}}
    - {at: 4s, every: 900ms, times: 14, change: {names: [web-1, web-2]}}
    - {at: 12s, delete: {names: [web-4, web-3]}}
    - {at: 13s, delete: {names: [web-1], namespace: other}}
    - {at: 14s, move: {names: [web-1], node: worker-2}}
faults:
  - {at: 7s, reset: {from: [observer-1]}}
  - {at: 10s, for: 6s, isolate: observer-1}
expect:
  - watch_promises
"""
"""observer-1 watches all units, those of worker-1, those without a node, web-1, and those of the namespace `other`."""


def test_the_shipped_code_holds() -> None:
    assert violated(SCENARIO) == set()


Responses = AsyncGenerator[EncodedResponse, None]


def _after(monkeypatch: pytest.MonkeyPatch, phase: str, change: Callable[[WatchResponse], None]) -> None:
    """`change` is made to each response about units, of the initial objects or of what follows."""
    inner = getattr(Watches, phase)

    async def wrong(self: Watches, wanted: Any, *args: Any, **kwargs: Any) -> Responses:
        async with aclosing(inner(self, wanted, *args, **kwargs)) as responses:
            async for response in responses:
                yield changed(response, change) if wanted.type == "api.systemd.Unit" else response

    monkeypatch.setattr(Watches, phase, wrong)


def _drop_first(response: WatchResponse) -> None:
    if len(response.events) > 1:
        del response.events[0]


def _drop_deletes(response: WatchResponse) -> None:
    kept = [event for event in response.events if not event.HasField("delete")]
    del response.events[:]
    response.events.extend(kept)


def _deletes_as_updates(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("delete"):
            event.update.CopyFrom(event.delete)


def _deletes_without_the_object(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("delete"):
            event.delete.ClearField("status")


def _deletes_with_the_old_revision(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("delete"):
            event.delete.metadata.revision = event.delete.metadata.create_revision


def _repeat(response: WatchResponse) -> None:
    if response.events and not response.events[0].HasField("bookmark"):
        response.events.add().CopyFrom(response.events[0])


def _turn_round(response: WatchResponse) -> None:
    events = list(response.events)
    if len({_revision(event) for event in events}) > 1:
        del response.events[:]
        response.events.extend(reversed(events))


def _revision(event: Event) -> int:
    return (event.delete if event.HasField("delete") else event.update).metadata.revision


def _hurried_bookmark(response: WatchResponse) -> None:
    response.revision += 3
    for event in response.events:
        if event.HasField("bookmark"):
            event.bookmark.revision += 3


def _bookmark_of_another_revision(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("bookmark"):
            event.bookmark.revision -= 1


def _no_labels(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("update"):
            event.update.metadata.labels.clear()


def _no_status(response: WatchResponse) -> None:
    for event in response.events:
        event.update.ClearField("status") if event.HasField("update") else None


def _another_generation(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("update"):
            event.update.metadata.generation += 1


def _another_uid(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("update"):
            event.update.metadata.uid = "another"


def _another_revision(response: WatchResponse) -> None:
    for event in response.events:
        if event.HasField("update"):
            event.update.metadata.revision -= 1


@pytest.mark.parametrize(
    "change",
    [
        _drop_first,
        _drop_deletes,
        _deletes_as_updates,
        _deletes_without_the_object,
        _deletes_with_the_old_revision,
        _repeat,
        _turn_round,
        _hurried_bookmark,
        _bookmark_of_another_revision,
        _no_labels,
        _no_status,
        _another_generation,
        _another_uid,
        _another_revision,
    ],
)
def test_changes_that_are_told_wrongly(
    change: Callable[[WatchResponse], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _after(monkeypatch, "_changes", change)
    assert "watch_promises" in violated(SCENARIO)


@pytest.mark.parametrize(
    "change", [_drop_first, _repeat, _no_status, _another_uid, _another_revision, _hurried_bookmark]
)
def test_initial_objects_that_are_told_wrongly(
    change: Callable[[WatchResponse], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _after(monkeypatch, "_initial", change)
    text = SCENARIO.replace("  - {at: 10s", "  - {at: 9s, for: 2s, kill: observer-1}\n  - {at: 12s").replace(
        "for: 6s", "for: 4s"
    )
    assert "watch_promises" in violated(text)


def _events(monkeypatch: pytest.MonkeyPatch, event_for: Callable[..., SharedEvent | None]) -> None:
    monkeypatch.setattr(server_events, "event_for", event_for)


def test_objects_that_leave_a_filter_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    event_for = server_events.event_for

    def silent(change: Change, wanted: Any, cache: EventCache) -> SharedEvent | None:
        found = event_for(change, wanted, cache)
        return None if found is not None and found.deleted and not change.deleted else found

    _events(monkeypatch, silent)
    assert "watch_promises" in violated(SCENARIO)


def test_objects_that_leave_a_filter_as_they_are_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    event_for = server_events.event_for

    def after(change: Change, wanted: Any, cache: EventCache) -> SharedEvent | None:
        found = event_for(change, wanted, cache)
        if found is not None and found.deleted and not change.deleted:
            return SharedEvent(change.record, found.revision, deleted=True)
        return found

    _events(monkeypatch, after)
    assert "watch_promises" in violated(SCENARIO)


def test_objects_that_were_never_in_a_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    event_for = server_events.event_for

    def careless(change: Change, wanted: Any, cache: EventCache) -> SharedEvent | None:
        found = event_for(change, wanted, cache)
        if found is None and change.deleted and change.previous is not None:
            return cache.delete(change.previous, change.record.mod_revision)
        return found

    _events(monkeypatch, careless)
    assert "watch_promises" in violated(SCENARIO)


def test_labels_that_are_looked_at_before_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    event_for = server_events.event_for

    def before(change: Change, wanted: Any, cache: EventCache) -> SharedEvent | None:
        if change.deleted or change.previous is None:
            return event_for(change, wanted, cache)
        if not wanted.matches_key(change.record.key) or not wanted.matches(cache.update(change.previous).labels):
            return None
        return cache.update(change.record)

    _events(monkeypatch, before)
    assert "watch_promises" in violated(SCENARIO)


async def _revision_of(store: Store, after: int, change: int) -> int:
    """The revision of the unit's change that is the so-many-th after a revision; waits for it."""
    units = prefix_bytes(UNIT_TYPE)
    changes = cast(AsyncGenerator[ChangeBatch, None], store.watch(units, prefix_end(units), after_revision=after))
    async with aclosing(changes) as batches:
        async for batch in batches:
            for found in batch.changes:
                change -= 1
                if not change:
                    return found.record.mod_revision
    raise AssertionError("a watch ends with an error alone")


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_a_watch_that_resumes_too_late(ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watches.watch

    async def late(self: Watches, request: WatchRequest) -> AsyncGenerator[Encoded, None]:
        if request.after_revision and request.type == UNIT_TYPE:
            request.after_revision = await _revision_of(self._store, request.after_revision, ahead)
        async with aclosing(watch(self, request)) as responses:
            async for response in responses:
                yield response

    monkeypatch.setattr(Watches, "watch", late)
    assert "watch_promises" in violated(SCENARIO)


def test_a_watch_that_resumes_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watches.watch

    def early(self: Watches, request: WatchRequest) -> Any:
        request.after_revision = max(request.after_revision - 5, 0)
        return watch(self, request)

    monkeypatch.setattr(Watches, "watch", early)
    assert "watch_promises" in violated(SCENARIO)


def test_revisions_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    responses_for = server_events.responses_for

    def parts(*args: Any) -> Iterator[EncodedResponse]:
        for response in responses_for(*args):
            message = WatchResponse.FromString(response.encode().data)
            for event in message.events:
                revision = max(_revision(event), 1)
                yield encoded(WatchResponse(events=[event], revision=revision, store_id=response.store_id))

    for module in (server_watch, server_feed):
        monkeypatch.setattr(module, "responses_for", parts)
    # What waits for a client would be sent together, which would mend it.
    monkeypatch.setattr(WatchBounds, "of", lambda config: WatchBounds(events_max=1, bytes_max=1 << 20))
    assert "watch_promises" in violated(SCENARIO)


def test_a_watch_that_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is open and tells nothing more: nothing that it told was wrong."""
    _after(monkeypatch, "_changes", lambda response: None)
    changes = Watches._changes

    async def deaf(self: Watches, *args: Any, **kwargs: Any) -> Responses:
        told = 0
        async with aclosing(changes(self, *args, **kwargs)) as responses:
            async for response in responses:
                told += 1
                if told < 4:
                    yield response

    monkeypatch.setattr(Watches, "_changes", deaf)
    assert "watch_promises" in violated(SCENARIO)
