"""The promises of preconditions and fences, for every write."""

from __future__ import annotations

import asyncio

import pytest

from rube.api import (
    DeleteRequest,
    Fence,
    Key,
    ListRequest,
    Object,
    Precondition,
    PutRequest,
    PutResponse,
    UnitStatus,
    UpdateStatusRequest,
)
from rube.api.errors import AbortedError, InvalidArgumentError, NotFoundError
from rube.api.types import pack
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit


def put_request(*objects: Object, **conditions: object) -> PutRequest:
    return PutRequest(objects=objects, **conditions)  # type: ignore[arg-type]


async def aborted(api: Served, request: PutRequest | DeleteRequest) -> AbortedError:
    """The error of a write that must not happen, and has not."""
    before = api.store.revision
    with pytest.raises(AbortedError) as raised:
        await (api.client.put(request) if isinstance(request, PutRequest) else api.client.delete(request))
    assert api.store.revision == before
    return raised.value


async def test_absent_lets_only_the_first_create(site: Site) -> None:
    async with serve(site) as api:
        request = put_request(unit("a"), preconditions=[Precondition(absent=True)])
        created = await api.client.put(request)
        error = await aborted(api, request)
        assert error.metadata == {"key": f"{TYPE}/system/a", "revision": str(created.revision)}


async def test_a_stale_revision_is_aborted_with_the_current_one(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", "one"))
        second = await api.put(unit("a", "two"))
        stale = Precondition(revision=first.revision)
        error = await aborted(api, put_request(unit("a", "three"), preconditions=[stale]))
        assert error.metadata["revision"] == str(second.revision)
        fresh = Precondition(revision=second.revision)
        await api.client.put(put_request(unit("a", "three"), preconditions=[fresh]))


async def test_a_stale_precondition_aborts_a_put_that_would_change_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        await aborted(api, put_request(unit("a"), preconditions=[Precondition(absent=True)]))


async def test_preconditions_on_other_objects_hold_or_nothing_is_written(site: Site) -> None:
    async with serve(site) as api:
        guard = await api.put(unit("guard"))
        on_guard = Precondition(key=key("guard"), revision=guard.revision)
        no_b = Precondition(key=key("b"), absent=True)
        await api.client.put(put_request(unit("a"), preconditions=[on_guard, no_b]))
        await api.put(unit("guard", "changed"))
        await aborted(api, put_request(unit("a", "two"), preconditions=[on_guard]))
        gone = Precondition(key=key("b"), uid="0" * 32)
        assert (await aborted(api, put_request(unit("a", "two"), preconditions=[gone]))).metadata["revision"] == "0"


async def test_a_uid_tells_an_object_from_its_successor(site: Site) -> None:
    async with serve(site) as api:
        uid = (await api.put(unit("a"))).metadata[0].uid
        meant = [Precondition(uid=uid)]
        await api.delete("a")
        await api.put(unit("a"))
        await aborted(api, DeleteRequest(keys=[key("a")], preconditions=meant))
        await aborted(api, put_request(unit("a", "two"), preconditions=meant))


async def test_a_delete_with_a_stale_revision_deletes_nothing(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a"), unit("b"))
        await api.put(unit("b", "changed"))
        stale = Precondition(key=key("b"), revision=first.revision)
        await aborted(api, DeleteRequest(keys=[key("a"), key("b")], preconditions=[stale]))
        assert (await api.get("a")).metadata.name == "a"


async def test_preconditions_that_make_no_sense_are_refused(site: Site) -> None:
    bad = [
        ([Precondition()], "preconditions[0] demands nothing"),
        ([Precondition(absent=True, uid="x")], "demands an absent object and also"),
        ([Precondition(key=Key(type="nothing"), absent=True)], "nothing"),
    ]
    async with serve(site) as api:
        for preconditions, message in bad:
            with pytest.raises(InvalidArgumentError) as raised:
                await api.client.put(put_request(unit("a"), preconditions=preconditions))
            assert message in raised.value.message
        with pytest.raises(InvalidArgumentError, match="names 2 objects"):
            await api.client.put(put_request(unit("a"), unit("b"), preconditions=[Precondition(absent=True)]))


async def test_only_one_of_many_writers_wins_a_revision(site: Site) -> None:
    async with serve(site) as api:
        first = await api.put(unit("a", "start"))
        condition = [Precondition(revision=first.revision)]
        requests = [put_request(unit("a", f"text {number}"), preconditions=condition) for number in range(10)]
        results = await asyncio.gather(*(api.client.put(request) for request in requests), return_exceptions=True)
        assert sum(isinstance(result, PutResponse) for result in results) == 1
        assert sum(isinstance(result, AbortedError) for result in results) == 9


async def test_a_fence_refuses_older_terms_of_its_group_alone(site: Site) -> None:
    async with serve(site) as api:
        await api.client.put(put_request(unit("a", "term 2"), fence=Fence(group="g", term=2)))
        error = await aborted(api, put_request(unit("a", "term 1"), fence=Fence(group="g", term=1)))
        assert error.metadata == {"fence": "g", "term": "2"}
        await api.client.put(put_request(unit("a", "term 2 again"), fence=Fence(group="g", term=2)))
        await api.client.put(put_request(unit("a", "other group"), fence=Fence(group="h", term=1)))


async def test_a_fence_covers_deletes_and_status_and_puts_that_change_nothing(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        await api.client.put(put_request(unit("a"), fence=Fence(group="g", term=5)))
        old = Fence(group="g", term=4)
        await aborted(api, DeleteRequest(keys=[key("a")], fence=old))
        status = pack(UnitStatus(active_state="active"))
        with pytest.raises(AbortedError):
            await api.client.update_status(UpdateStatusRequest(key=key("a"), status=status, fence=old))
        await api.client.delete(DeleteRequest(keys=[key("a")], fence=Fence(group="g", term=6)))


async def test_a_fence_is_in_no_list_and_no_watch(site: Site) -> None:
    async with serve(site) as api:
        async with api.watch(send_initial=True) as watched:
            assert await watched.lines(1) == ["bookmark end"]
            await api.client.put(put_request(unit("a"), fence=Fence(group="g", term=1)))
            assert await watched.change() == "update a"
        listed = await api.client.list_objects(ListRequest(type=TYPE))
        assert [obj.metadata.name for obj in listed.items] == ["a"]


async def test_a_fence_needs_a_group_and_a_term(site: Site) -> None:
    async with serve(site) as api:
        for fence in (Fence(group="g"), Fence(term=1), Fence(group="x" * 254, term=1)):
            with pytest.raises(InvalidArgumentError, match="fence"):
                await api.client.put(put_request(unit("a"), fence=fence))


async def test_a_fence_outlives_the_server(site: Site) -> None:
    if site.store_url == "memory:":
        pytest.skip("a store in memory remembers nothing")
    async with serve(site) as api:
        await api.client.put(put_request(unit("a"), fence=Fence(group="g", term=3)))
    async with serve(site) as api:
        await aborted(api, put_request(unit("a", "old"), fence=Fence(group="g", term=2)))


async def test_deletes_are_atomic_and_name_what_is_missing(site: Site) -> None:
    async with serve(site) as api:
        put = await api.put(unit("a"), unit("b"))
        with pytest.raises(NotFoundError) as raised:
            await api.delete("a", "missing", "b")
        assert raised.value.metadata["key"] == f"{TYPE}/system/missing"
        assert api.store.revision == put.revision
        response = await api.delete("a", "b")
        assert response.revision > put.revision
        for name in "ab":
            with pytest.raises(NotFoundError, match=f"{TYPE}/system/{name} does not exist"):
                await api.get(name)
        with pytest.raises(InvalidArgumentError, match="named twice"):
            await api.delete("a", "a")
        with pytest.raises(InvalidArgumentError, match="names no objects"):
            await api.delete()


async def test_an_object_put_after_its_delete_is_another_one(site: Site) -> None:
    async with serve(site) as api:
        first = (await api.put(unit("a"))).metadata[0]
        await api.delete("a")
        second = (await api.put(unit("a"))).metadata[0]
        assert second.uid != first.uid
        assert second.create_revision == second.revision > first.revision
        assert second.generation == 1
