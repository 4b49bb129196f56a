"""The informer's pure core: what responses make of a copy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api import Bookmark, Event, Metadata, Object, Unit, WatchResponse
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.client import Batch, CacheState, ObjectCache

TYPE = "api.systemd.Unit"


def unit(name: str, revision: int) -> Object:
    return Object(
        metadata=Metadata(namespace="system", name=name, revision=revision),
        spec=pack(Unit(description=f"{name} at {revision}")),
    )


def update(name: str, revision: int) -> Event:
    return Event(update=unit(name, revision))


def delete(name: str, revision: int) -> Event:
    return Event(delete=unit(name, revision))


def end(revision: int) -> Event:
    return Event(bookmark=Bookmark(revision=revision, initial_end=True))


def response(revision: int, *events: Event) -> WatchResponse:
    return WatchResponse(events=events, revision=revision, store_id="s")


def short(batch: Batch | None) -> list[str] | None:
    """The changes in short: `+a3`, `~a3`, `-a3`; None where there is no batch."""
    if batch is None:
        return None
    signs = [("+" if c.old is None else "-" if c.new is None else "~") for c in batch.changes]
    return [f"{sign}{c.key.name}{c.revision}" for sign, c in zip(signs, batch.changes, strict=True)]


def take(replica: ObjectCache, given_response: WatchResponse) -> list[str] | None:
    batch = replica.prepare(given_response)
    if batch is not None:
        replica.commit(batch)
    return short(batch)


def replica_of(revision: int, *names: str) -> ObjectCache:
    replica = ObjectCache(CacheState(objects=tuple(unit(name, 1) for name in names), revision=revision, store_id="s"))
    replica.begin()
    return replica


def names(replica: ObjectCache) -> list[str]:
    return sorted(key.name for key in replica.objects)


def test_a_list_becomes_one_batch_at_its_end() -> None:
    replica = replica_of(0)
    assert take(replica, response(0, update("b", 2))) is None
    assert (names(replica), replica.listing) == ([], True)
    assert take(replica, response(5, update("a", 1), end(5))) == ["+a1", "+b2"]
    assert (names(replica), replica.revision, replica.store_id, replica.listing) == (["a", "b"], 5, "s", False)


def test_an_empty_list_is_a_batch_too() -> None:
    replica = replica_of(0)
    assert take(replica, response(0, end(0))) == []
    assert not replica.listing


def test_preparing_changes_nothing_that_is_visible() -> None:
    replica = replica_of(3, "a")
    assert short(replica.prepare(response(4, update("b", 4), delete("a", 4)))) == ["+b4", "-a4"]
    assert (names(replica), replica.revision) == (["a"], 3)


def test_several_changes_of_one_object_in_one_response_follow_each_other() -> None:
    replica = replica_of(3)
    changes = response(6, update("a", 4), update("a", 5), delete("a", 6))
    assert take(replica, changes) == ["+a4", "~a5", "-a6"]
    assert names(replica) == []


def test_a_delete_of_what_is_not_there_is_no_change() -> None:
    replica = replica_of(3)
    assert take(replica, response(4, delete("a", 4))) == []
    assert replica.revision == 4


def test_a_bookmark_moves_the_position_once() -> None:
    replica = replica_of(3, "a")
    mark = response(9, Event(bookmark=Bookmark(revision=9)))
    assert take(replica, mark) == []
    assert (replica.revision, replica.resumable) == (9, True)
    assert take(replica, mark) is None


def test_a_lost_position_lists_again_and_tells_the_difference() -> None:
    replica = replica_of(3, "gone", "same", "old")
    replica.lose_position()
    assert not replica.resumable
    replica.begin()
    assert take(replica, response(0, update("same", 1), update("old", 8))) is None
    assert names(replica) == ["gone", "old", "same"]
    assert take(replica, response(9, update("new", 7), end(9))) == ["-gone9", "+new7", "~old8"]
    assert replica.resumable


def test_an_interrupted_list_begins_anew() -> None:
    replica = replica_of(0)
    assert take(replica, response(0, update("gone", 1))) is None
    replica.begin()
    assert take(replica, response(5, update("a", 1), end(5))) == ["+a1"]
    assert names(replica) == ["a"]


def test_a_lost_position_that_lists_in_vain_stays_lost() -> None:
    replica = replica_of(3, "a")
    replica.lose_position()
    replica.begin()
    assert take(replica, response(0, update("a", 5))) is None
    replica.begin()
    assert replica.listing
    assert not replica.resumable


class Model:
    """A store of names and revisions, and the log of its changes."""

    def __init__(self) -> None:
        self.revision = 0
        self.objects: dict[str, int] = {}
        self.log: list[Event] = []

    def step(self, name: str, *, deletes: bool) -> None:
        if deletes and name not in self.objects:
            return
        self.revision += 1
        if deletes:
            del self.objects[name]
            self.log.append(delete(name, self.revision))
        else:
            self.objects[name] = self.revision
            self.log.append(update(name, self.revision))

    def changes_after(self, revision: int) -> WatchResponse:
        return response(self.revision, *self.log[revision:])

    def listed(self) -> WatchResponse:
        return response(self.revision, *(update(n, r) for n, r in sorted(self.objects.items())), end(self.revision))


@pytest.mark.parametrize("transform", [None, lambda obj: obj], ids=["plain", "packed"])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "delete", "deliver", "lose"])), max_size=40
    )
)
def test_a_copy_equals_the_store_whatever_is_lost_between(
    transform: Callable[[Object], Object] | None, steps: list[tuple[str, str]]
) -> None:
    model, replica = Model(), ObjectCache(CacheState(), transform)
    told: dict[ObjectKey, Object] = {}

    def deliver() -> None:
        replica.begin()
        batch = replica.prepare(model.changes_after(replica.revision) if replica.resumable else model.listed())
        for change in batch.changes if batch else ():
            assert told.get(change.key) == change.old
            if change.new is None:
                del told[change.key]
            else:
                told[change.key] = change.new
        if batch is not None:
            replica.commit(batch)
        assert dict(replica.objects) == told
        assert {key.name: obj.metadata.revision for key, obj in told.items()} == model.objects
        assert replica.revision == model.revision

    for name, action in [*steps, ("a", "deliver")]:
        match action:
            case "deliver":
                deliver()
            case "lose":
                replica.lose_position()
            case _:
                model.step(name, deletes=action == "delete")


def test_a_kept_object_is_not_the_responses() -> None:
    replica = replica_of(3)
    given_response = response(4, update("a", 4))
    take(replica, given_response)
    given_response.events[0].update.metadata.name = "changed"
    assert [obj.metadata.name for obj in replica.objects.values()] == ["a"]


def test_a_packed_copy_keeps_what_is_made_of_each_object() -> None:
    def name_alone(obj: Object) -> Object:
        return Object(metadata=Metadata(namespace="system", name=obj.metadata.name), spec=obj.spec)

    replica = ObjectCache(CacheState(), name_alone)
    replica.begin()
    take(replica, response(4, update("a", 4), end(4)))
    (kept,) = replica.objects.values()
    assert (kept.metadata.name, kept.metadata.revision) == ("a", 0)
    kept.metadata.name = "mine"
    assert [obj.metadata.name for obj in replica.objects.values()] == ["a"]
