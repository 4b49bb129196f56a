"""The way from changes to a watch's responses: the pure core."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rube.api import Event, Metadata, Object, Unit, WatchRequest, WatchResponse
from rube.api.types import BUILTIN, pack
from rube.server.events import EncodedResponse, EventCache, WatchBounds, bookmark, joined, responses_for
from rube.server.filters import ObjectFilter
from rube.store import Change, ChangeBatch, Record

TYPE = "api.systemd.Unit"
WIDE = WatchBounds(events_max=1000, bytes_max=1 << 20)


def record(name: str, revision: int, tier: str = "web", *, size: int = 1) -> Record:
    obj = Object(
        metadata=Metadata(namespace="system", name=name, labels={"tier": tier}),
        spec=pack(Unit(description="x" * size)),
    )
    return Record(f"{TYPE}/system/{name}".encode(), obj.SerializeToString(deterministic=True), 1, revision)


def put(name: str, revision: int, tier: str = "web", *, before: Record | None = None, size: int = 1) -> Change:
    return Change(record(name, revision, tier, size=size), False, before)


def delete(previous: Record, revision: int) -> Change:
    return Change(Record(previous.key, b"", 0, revision), True, previous)


def seen(changes: list[Change], selector: str = "", *, bounds: WatchBounds = WIDE) -> list[list[str]]:
    """The events of each response in short: `+a2` is an update of `a` at revision 2, `-a2` a delete."""
    request = WatchRequest(type=TYPE, label_selector=selector)
    batch = ChangeBatch(changes, max((change.record.mod_revision for change in changes), default=0))
    responses = responses_for(batch, ObjectFilter.of(request, BUILTIN), EventCache(bytes_max=1 << 20), "s", bounds)
    return [[short(event) for event in message(response).events] for response in responses]


def message(response: EncodedResponse) -> WatchResponse:
    parsed = WatchResponse.FromString(response.encode().data)
    assert len(parsed.events) == response.count
    return parsed


def short(event: Event) -> str:
    obj = event.update if event.HasField("update") else event.delete
    return f"{'+' if event.HasField('update') else '-'}{obj.metadata.name}{obj.metadata.revision}"


def test_every_way_an_object_can_cross_the_selector() -> None:
    match, other = record("a", 1, "web"), record("a", 1, "db")
    assert seen([put("a", 2, "web")], "tier=web") == [["+a2"]]
    assert seen([put("a", 2, "db")], "tier=web") == []
    assert seen([put("a", 2, "web", before=match)], "tier=web") == [["+a2"]]
    assert seen([put("a", 2, "web", before=other)], "tier=web") == [["+a2"]]
    assert seen([put("a", 2, "db", before=match)], "tier=web") == [["-a2"]]
    assert seen([put("a", 2, "db", before=other)], "tier=web") == []
    assert seen([delete(match, 2)], "tier=web") == [["-a2"]]
    assert seen([delete(other, 2)], "tier=web") == []


def test_a_delete_event_carries_the_previous_object_in_full() -> None:
    previous = record("a", 1)
    request = WatchRequest(type=TYPE)
    cache = EventCache(bytes_max=1 << 20)
    (encoded,) = responses_for(
        ChangeBatch([delete(previous, 7)], 9), ObjectFilter.of(request, BUILTIN), cache, "s", WIDE
    )
    response = message(encoded)
    deleted = response.events[0].delete
    assert BUILTIN.unpack(deleted.spec) == Unit(description="x")
    assert (deleted.metadata.revision, deleted.metadata.create_revision) == (7, 1)
    assert (response.revision, response.store_id) == (9, "s")


def test_a_name_in_any_namespace_is_the_whole_last_part_of_the_key() -> None:
    wanted = ObjectFilter.of(WatchRequest(type=TYPE, name="a"), BUILTIN)
    assert wanted.matches_key(f"{TYPE}/system/a".encode())
    assert not wanted.matches_key(f"{TYPE}/system/aa".encode())
    assert not wanted.matches_key(f"{TYPE}/a/b".encode())


def test_the_cache_forgets_the_oldest_past_its_bytes() -> None:
    cache = EventCache(bytes_max=2 * (3 * len(record("a", 1).value) + 300))
    events = [cache.update(record("a", revision)) for revision in range(1, 9)]
    assert cache.update(record("a", 8)) is events[-1]
    assert cache.update(record("a", 1)) is not events[0]
    assert cache.update(record("a", 1)).encoded() == events[0].encoded()


def test_an_update_and_an_end_at_one_revision_are_two_events() -> None:
    cache = EventCache(bytes_max=1 << 20)
    assert not cache.update(record("a", 2)).deleted
    assert cache.delete(record("a", 1), 2).deleted


def test_a_bookmark_says_its_revision_twice() -> None:
    response = message(bookmark(5, "s", initial_end=True))
    assert response.revision == response.events[0].bookmark.revision == 5
    assert response.events[0].bookmark.initial_end


def test_joined_responses_have_all_events_and_the_last_revision() -> None:
    responses = [bookmark(5, "s"), bookmark(7, "s")]
    response = message(joined(responses))
    assert [event.bookmark.revision for event in response.events] == [5, 7]
    assert (response.revision, response.store_id) == (7, "s")


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 400)), max_size=12),
    st.integers(1, 6),
    st.integers(100, 2000),
)
def test_responses_hold_every_event_once_in_order_and_split_no_revision(
    commits: list[tuple[int, int]], events_max: int, bytes_max: int
) -> None:
    changes = [
        put(f"o{index}", revision, size=size)
        for revision, (count, size) in enumerate(commits, start=1)
        for index in range(count)
    ]
    batch = ChangeBatch(changes, len(commits) + 3)
    cache = EventCache(bytes_max=1 << 20)
    wanted = ObjectFilter.of(WatchRequest(type=TYPE), BUILTIN)
    bounds = WatchBounds(events_max, bytes_max)
    responses = [message(response) for response in responses_for(batch, wanted, cache, "s", bounds)]
    events = [short(event) for response in responses for event in response.events]
    assert events == [
        f"+o{index}{revision}" for revision, (count, _) in enumerate(commits, 1) for index in range(count)
    ]
    revisions = [sorted({event.update.metadata.revision for event in r.events}) for r in responses]
    assert [revision for group in revisions for revision in group] == list(range(1, len(commits) + 1))
    for response, group in zip(responses, revisions, strict=True):
        # Only the last revision of a response may take it past its bounds.
        assert sum(event.update.metadata.revision != group[-1] for event in response.events) < events_max
    assert [r.revision for r in responses] == [group[-1] for group in revisions[:-1]] + [batch.revision] * bool(
        responses
    )
