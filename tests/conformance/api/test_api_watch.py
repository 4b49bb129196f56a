"""The promises of Watch: ordered, unique, reliable, atomic, resumable, bookmarkable."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import aio

from rube.api import Bookmark, Unit
from rube.api.errors import (
    CompactedError,
    InvalidArgumentError,
    RevisionAheadError,
    RubeError,
    StoreChangedError,
    UnavailableError,
)
from rube.api.types import BUILTIN
from rube.transport import rube_error
from tests.conformance.api.api_sites import TYPE, Served, Site, line, serve, unit


async def failure(api: Served, **request: object) -> RubeError:
    """The error that a watch ends with."""
    async with api.watch(**request) as watched:
        with pytest.raises(aio.AioRpcError) as raised:
            await watched.lines(1_000)
    return rube_error(raised.value)


async def test_initial_objects_then_a_bookmark_then_changes(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("b"), unit("a"))
        async with api.watch(send_initial=True) as watched:
            assert await watched.lines(3) == ["update a", "update b", "bookmark end"]
            await api.put(unit("c"))
            await api.put(unit("a", "changed"))
            await api.delete("b")
            assert [await watched.change() for _ in range(3)] == ["update c", "update a", "delete b"]


async def test_events_carry_the_objects_as_get_shows_them(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"x": "1"}))
        await api.set_status("a", "active")
        stored = await api.get("a")
        async with api.watch(send_initial=True) as watched:
            assert (await watched.event()).update == stored
            changed = await api.put(unit("a", "changed"))
            while not (event := await watched.event()).HasField("update"):
                pass
            assert event.update == await api.get("a")
            assert event.update.metadata.revision == changed.revision


async def test_a_delete_event_has_the_object_as_it_was_and_the_revision_of_its_end(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        before = await api.get("a")
        async with api.watch(after_revision=before.metadata.revision) as watched:
            deleted = await api.delete("a")
            while not (event := await watched.event()).HasField("delete"):
                pass
            assert event.delete.metadata.revision == deleted.revision
            event.delete.metadata.revision = before.metadata.revision
            assert event.delete == before


async def test_a_watch_of_an_empty_store_says_where_it_is(site: Site) -> None:
    async with serve(site) as api, api.watch(send_initial=True) as watched:
        event = await watched.event()
        assert event.bookmark == Bookmark(revision=api.store.revision, initial_end=True)


async def test_a_watch_without_a_revision_begins_now(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("old"))
        async with api.watch() as watched:
            response = await watched.response()
            assert [line(event) for event in response.events] == ["bookmark"]
            assert (response.revision, response.store_id) == (put.revision, put.store_id)
            await api.put(unit("new"))
            assert await watched.change() == "update new"


async def test_a_watch_resumes_after_any_revision(site: Site) -> None:
    async with serve(site) as api:
        revisions = [(await api.put(unit("a", f"text {number}"))).revision for number in range(5)]
        await api.delete("a")
        for index, revision in enumerate(revisions):
            async with api.watch(after_revision=revision, store_id=api.store.store_id) as watched:
                expected = ["update a"] * (4 - index) + ["delete a"]
                assert [await watched.change() for _ in expected] == expected
                assert watched.responses[-1].revision == api.store.revision


async def test_a_label_selector_sees_objects_come_and_go(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a", labels={"node": "n1"}), unit("other", labels={"node": "n2"}))
        async with api.watch(send_initial=True, label_selector="node=n1") as watched:
            assert await watched.lines(2) == ["update a", "bookmark end"]
            await api.put(unit("a", "changed", labels={"node": "n1"}))
            assert await watched.change() == "update a"
            await api.put(unit("other", "changed"))
            moved = await api.put(unit("a", "moved", labels={"node": "n2"}))
            while not (event := await watched.event()).HasField("delete"):
                assert event.HasField("bookmark")
            # As it was when it still matched, at the revision at which it stopped to.
            assert BUILTIN.unpack(event.delete.spec) == Unit(description="changed")
            assert event.delete.metadata.labels["node"] == "n1"
            assert event.delete.metadata.revision == moved.revision
            await api.delete("a")
            await api.put(unit("other", labels={"node": "n1"}))
            assert await watched.change() == "update other"
            await api.delete("other")
            assert await watched.change() == "delete other"


async def test_a_watch_is_filtered_by_namespace_and_name(site: Site) -> None:
    async with serve(site) as api:
        async with (
            api.watch(send_initial=True, namespace="system") as of_namespace,
            api.watch(send_initial=True, namespace="system", name="a") as of_object,
            api.watch(send_initial=True, name="a") as of_name,
        ):
            for watched in (of_namespace, of_object, of_name):
                assert await watched.lines(1) == ["bookmark end"]
            await api.put(unit("a", namespace="other"))
            await api.put(unit("b"))
            await api.put(unit("a"), unit("aa"), unit("a", namespace="system-2"))
            await api.delete("a")
            assert [await of_namespace.change() for _ in range(4)] == ["update b", "update a", "update aa", "delete a"]
            assert [await of_object.change() for _ in range(2)] == ["update a", "delete a"]
            assert [await of_name.change() for _ in range(4)] == ["update a", "update a", "update a", "delete a"]


async def test_a_revision_is_never_split_and_responses_are_bounded(site: Site) -> None:
    async with serve(site, watch_response_events_max=4) as api:
        start = (await api.put(unit("first"))).revision
        for number in range(6):
            await api.put(*(unit(f"{name}{number}") for name in "abc"))
        await api.put(*(unit(f"many{number}") for number in range(9)))
        async with api.watch(after_revision=start) as watched:
            for _ in range(27):
                await watched.change()
        responses = [r for r in watched.responses if not r.events[0].HasField("bookmark")]
        for response in responses:
            revisions = {event.update.metadata.revision for event in response.events}
            assert max(revisions) <= response.revision
            assert len(response.events) <= 4 + 2 or len(revisions) == 1
        together = [{event.update.metadata.revision for event in response.events} for response in responses]
        assert sum(map(len, together)) == len(set().union(*together)) == 7
        assert len(responses) >= 4


async def test_responses_end_at_their_bytes(site: Site) -> None:
    async with serve(site, watch_response_bytes_max=10_000) as api:
        start = (await api.put(unit("first"))).revision
        for number in range(10):
            await api.put(unit(f"u{number}", "x" * 4000))
        async with api.watch(after_revision=start) as watched:
            for _ in range(10):
                await watched.change()
        assert max(response.ByteSize() for response in watched.responses) < 10_000 + 4500


async def test_initial_objects_come_in_pieces_of_which_only_the_last_has_the_revision(site: Site) -> None:
    async with serve(site) as api:
        for number in range(4):
            await api.put(*(unit(f"u{number}-{index:02}") for index in range(10)))
        async with api.watch(send_initial=True) as watched:
            events = await watched.lines(41)
        assert events[-1] == "bookmark end"
        assert len(set(events)) == 41
        assert [response.revision for response in watched.responses[:-1]] == [0] * (len(watched.responses) - 1)
        assert len(watched.responses) > 1
        assert watched.responses[-1].revision == api.store.revision


async def test_what_concerns_others_is_told_by_a_bookmark(site: Site) -> None:
    async with serve(site, bookmark_interval_s=0.05) as api:
        async with api.watch(send_initial=True, label_selector="node=n1") as watched:
            assert await watched.lines(1) == ["bookmark end"]
            other = await api.put(unit("other"))
            while (event := await watched.event()).bookmark.revision < other.revision:
                assert line(event) == "bookmark"
            assert line(event) == "bookmark"
            again = await api.put(unit("other", "changed"))
            while (event := await watched.event()).bookmark.revision < again.revision:
                assert line(event) == "bookmark"


async def test_a_compacted_revision_tells_the_oldest(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a"))
        last = await api.put(unit("a", "changed"))
        await api.store.compact(last.revision)
        error = await failure(api, after_revision=first.revision)
        assert isinstance(error, CompactedError)
        assert error.metadata["oldest_revision"] == str(last.revision)
        async with api.watch(after_revision=last.revision) as watched:
            assert await watched.lines(1) == ["bookmark"]


async def test_a_revision_ahead_of_the_store_is_an_error(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"))
        error = await failure(api, after_revision=put.revision + 1)
        assert isinstance(error, RevisionAheadError)
        assert error.metadata["revision"] == str(put.revision)


async def test_a_revision_of_another_store_is_an_error(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"))
        error = await failure(api, after_revision=put.revision, store_id="f" * 32)
        assert isinstance(error, StoreChangedError)
        assert error.metadata["store_id"] == put.store_id


async def test_bad_watches_are_refused(site: Site) -> None:
    async with serve(site) as api:
        for request in ({"type": "api.Nodee"}, {"namespace": "A"}, {"label_selector": "=,"}):
            assert isinstance(await failure(api, **request), InvalidArgumentError)


async def test_a_slow_watcher_gets_everything_in_the_end(site: Site) -> None:
    async with serve(site) as api:
        async with api.watch(send_initial=True) as watched:
            assert await watched.lines(1) == ["bookmark end"]
            for number in range(60):
                await api.put(unit("a", f"{number} " + "x" * 50_000))
            seen: list[Any] = []
            while len(seen) < 60:
                event = await watched.event()
                if event.HasField("update"):
                    seen.append(event.update.metadata.revision)
            assert seen == sorted(set(seen))


async def test_a_stopping_server_ends_watches_at_once(site: Site) -> None:
    async with serve(site) as api:
        async with api.watch(send_initial=True) as watched:
            assert await watched.lines(1) == ["bookmark end"]
            before_ns = site.host.clock.monotonic_ns()
            await api.server.stop(30.0)
            assert site.host.clock.monotonic_ns() - before_ns < 5_000_000_000
            with pytest.raises(aio.AioRpcError) as raised:
                await watched.response()
            assert isinstance(rube_error(raised.value), UnavailableError)


async def test_a_watch_that_its_client_leaves_costs_nothing_more(site: Site) -> None:
    async with serve(site) as api:
        for _ in range(3):
            async with api.watch(type=TYPE) as watched:
                await watched.response()
        await api.put(unit("a"))
        assert (await api.get("a")).metadata.name == "a"
