"""Responses fit clients with gRPC's default limit of 4 MiB, also where objects are as large as they may be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rube.api import ApiAsyncStub, ApiStub, ListRequest, ListResponse, WatchRequest, WatchResponse
from rube.api.errors import ResourceExhaustedError
from rube.host.network import RESPONSE_BYTES_MAX
from rube.server import ApiServerConfig
from rube.server.validation import ROOM_BYTES
from rube.store import StoreConfig
from tests.conformance.api.api_sites import FOREIGN, TYPE, Served, Site, serve, unit

KIB = 1024
LIMITS = StoreConfig().limits
LARGE = 16
LARGE_BYTES = LIMITS.value_bytes_max - ROOM_BYTES - KIB
"""Below the largest object by what stands around its text."""
# As was reported: a page of them had 4,203,528 bytes.
MIDDLE, MIDDLE_BYTES = 45, 100 * KIB


@asynccontextmanager
async def foreign(site: Site, api: Served) -> AsyncIterator[ApiAsyncStub]:
    async with site.foreign.channel(api.address) as channel:
        yield ApiStub(channel)


async def filled(api: Served, count: int, size_bytes: int) -> list[str]:
    for number in range(count):
        await api.put(unit(f"u{number:03}", "x" * size_bytes))
    return [f"u{number:03}" for number in range(count)]


async def pages_of(stub: ApiAsyncStub, request: ListRequest) -> list[ListResponse]:
    pages = []
    while True:
        page = await stub.List(request)
        pages.append(page)
        if not page.next_page_token:
            return pages
        request.page_token = page.next_page_token


@pytest.mark.parametrize(("count", "size_bytes"), [(LARGE, LARGE_BYTES), (MIDDLE, MIDDLE_BYTES)])
async def test_pages_are_cut_by_bytes(site: Site, count: int, size_bytes: int) -> None:
    async with serve(site) as api, foreign(site, api) as stub:
        names = await filled(api, count, size_bytes)
        pages = await pages_of(stub, ListRequest(type=TYPE))
        assert [item.metadata.name for page in pages for item in page.items] == names
        assert len(pages) > 1
        assert all(page.items for page in pages)
        assert max(page.ByteSize() for page in pages) <= RESPONSE_BYTES_MAX + KIB
        assert len({page.revision for page in pages}) == 1


@pytest.mark.parametrize(("count", "size_bytes"), [(LARGE, LARGE_BYTES), (MIDDLE, MIDDLE_BYTES)])
async def test_initial_objects_of_a_watch_are_cut_by_bytes(site: Site, count: int, size_bytes: int) -> None:
    async with serve(site) as api, foreign(site, api) as stub:
        names = await filled(api, count, size_bytes)
        call = stub.Watch(WatchRequest(type=TYPE, send_initial=True))
        found: list[str] = []
        while True:
            response = await call.read()
            assert isinstance(response, WatchResponse)
            assert response.ByteSize() <= RESPONSE_BYTES_MAX
            found += [event.update.metadata.name for event in response.events if event.HasField("update")]
            if any(event.bookmark.initial_end for event in response.events):
                break
            assert response.revision == 0
        assert found == names
        assert response.revision == api.store.revision
        await api.put(unit("u000", "small"))
        following = await call.read()
        assert isinstance(following, WatchResponse)
        assert [event.update.metadata.name for event in following.events] == ["u000"]
        call.cancel()


async def test_the_largest_revision_fits(site: Site) -> None:
    """It fits as it comes to be and as it ends, each of which a watch never splits."""
    async with serve(site) as api, foreign(site, api) as stub:
        await api.put(unit("first"))
        before = api.store.revision
        # Small objects have the most around them.
        count = min(LIMITS.txn_ops_max, api.store.limits.txn_ops_max)
        each = (LIMITS.txn_bytes_max - 300 * count) // count
        names = [f"u{number:04}" for number in range(count)]
        await api.put(*(unit(name, "x" * each) for name in names))
        await api.delete(*names)
        call = stub.Watch(WatchRequest(type=TYPE, after_revision=before))
        seen: list[str] = []
        while len(seen) < 2 * count:
            response = await call.read()
            assert isinstance(response, WatchResponse)
            assert response.ByteSize() <= RESPONSE_BYTES_MAX
            seen += [event.WhichOneof("event") or "" for event in response.events]
        assert seen == ["update"] * count + ["delete"] * count
        call.cancel()


async def test_a_revision_that_would_not_fit_is_refused_before_it_is_one(site: Site) -> None:
    async with serve(site) as api:
        half = LIMITS.txn_bytes_max // 2
        with pytest.raises(ResourceExhaustedError, match=r"at one revision \(txn_bytes_max\): use several requests"):
            await api.put(unit("a", "x" * half), unit("b", "x" * half))
        await api.put(unit("a", "x" * half))
        await api.put(unit("b", "x" * half))
        # What is deleted counts as well: a watch delivers the objects as they were.
        with pytest.raises(ResourceExhaustedError, match="txn_bytes_max"):
            await api.delete("a", "b")


def test_the_limits_along_the_way_of_an_object_agree() -> None:
    config = ApiServerConfig()
    around_bytes = 64
    assert LIMITS.value_bytes_max + around_bytes <= LIMITS.txn_bytes_max
    assert LIMITS.txn_bytes_max + LIMITS.txn_ops_max * around_bytes <= RESPONSE_BYTES_MAX
    assert max(config.page_bytes_max, config.watch_response_bytes_max) <= RESPONSE_BYTES_MAX
    assert FOREIGN.message_bytes_max >= RESPONSE_BYTES_MAX + 256 * KIB


async def test_the_largest_object_can_still_get_a_status_and_a_node(site: Site) -> None:
    async with serve(site) as api:
        largest = api.store.limits.value_bytes_max - ROOM_BYTES
        with pytest.raises(ResourceExhaustedError, match=r"keeps the rest of .* for its status"):
            await api.put(unit("a", "x" * largest))
        large = unit("a", "x" * (largest - KIB))
        await api.put(large)
        await api.set_status("a", "y" * (ROOM_BYTES // 2))
        # As placement does: the spec stays, and is not measured again.
        await api.put(unit("a", "x" * (largest - KIB), labels={"node": "w" * 63, "l" * 63: "v" * 63}))
        assert (await api.get("a")).metadata.labels["node"] == "w" * 63
        await api.set_status("a", "z" * (ROOM_BYTES // 2))
