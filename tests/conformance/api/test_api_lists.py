"""Lists of many pages over history that is compacted, or a store that is another one, between two of them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rube.api import ListRequest, ListResponse
from rube.api.errors import CompactedError, InvalidArgumentError
from rube.client import Client, ClientConfig
from tests.conformance.api.api_sites import TYPE, Served, Site, serve, unit

COUNT = 10
LIST = ListRequest(type=TYPE, page_size=3)
Before = Callable[[ListRequest, int], Coroutine[Any, Any, None]]


class Interrupted(Client):
    """A client to which something happens before each of its pages."""

    def __init__(self, api: Served, before: Before, **config: Any) -> None:
        super().__init__(api.host, [api.address], ClientConfig(**config))
        self.requests: list[ListRequest] = []
        self._before = before

    async def list_page(self, request: ListRequest, *, deadline_s: float | None = None) -> ListResponse:
        self.requests.append(ListRequest.FromString(request.SerializeToString()))
        await self._before(request, len(self.requests))
        return await super().list_page(request, deadline_s=deadline_s)


async def compact(api: Served) -> None:
    last = await api.put(unit("u0", f"at {api.store.revision}"))
    await api.store.compact(last.revision)


async def fill(api: Served) -> None:
    await api.put(*(unit(f"u{number}") for number in range(COUNT)))


async def test_a_list_begins_anew_when_its_revision_is_forgotten(site: Site) -> None:
    async with serve(site) as api:
        await fill(api)

        async def once(_: object, number: int) -> None:
            if number == 3:
                await compact(api)

        async with Interrupted(api, once) as client:
            listed = await client.list_objects(LIST)
            assert [item.metadata.name for item in listed.items] == [f"u{number}" for number in range(COUNT)]
            assert listed.revision == api.store.revision
            assert not listed.next_page_token
            assert [bool(request.page_token) for request in client.requests] == [False, True, True, False]
            assert client.requests[-1].page_size > COUNT  # the largest page, to be done sooner


async def test_a_list_that_is_always_too_slow_ends_with_the_remedy(site: Site) -> None:
    """The server has small pages, so that no size helps."""
    async with serve(site, page_objects_max=3) as api:
        await fill(api)

        async def always(request: ListRequest, _: int) -> None:
            if request.page_token:
                await compact(api)

        async with Interrupted(api, always, list_restarts_max=2) as client:
            with pytest.raises(CompactedError, match=r"began 3 times \(list_restarts_max\).*--history"):
                await client.list_objects(LIST)
            assert len(client.requests) == 6


async def test_a_list_of_a_page_token_of_the_callers_own_cannot_begin_anew(site: Site) -> None:
    async with serve(site) as api:
        await fill(api)
        token = (await api.client.list_page(LIST)).next_page_token
        await compact(api)
        with pytest.raises(CompactedError):
            await api.client.list_objects(ListRequest(type=TYPE, page_size=3, page_token=token))


async def test_what_is_wrong_with_a_list_from_the_start_is_told_at_once(site: Site) -> None:
    async with serve(site) as api:

        async def never(_: object, __: int) -> None:
            return

        async with Interrupted(api, never) as client:
            with pytest.raises(InvalidArgumentError, match="page_token"):
                await client.list_objects(ListRequest(type=TYPE, page_token="x"))
            with pytest.raises(InvalidArgumentError, match="page_size"):
                await client.list_objects(ListRequest(type=TYPE, page_size=-1))
            assert len(client.requests) == 2


async def test_a_list_goes_on_from_the_start_on_another_store(site: Site) -> None:
    """The second page is asked of a server whose store is another one: it takes no token of the first."""
    async with serve(site) as api:
        await fill(api)

        async def once(request: ListRequest, number: int) -> None:
            if number == 2:
                request.page_token = request.page_token.swapcase()

        async with Interrupted(api, once) as client:
            listed = await client.list_objects(LIST)
            assert len(listed.items) == COUNT
            assert listed.store_id == api.store.store_id
