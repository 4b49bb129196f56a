"""A request's fields are obeyed or refused, never ignored; and a stranger's input has bounds."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import aio

from rube.api import (
    DeleteRequest,
    Fence,
    GetRequest,
    ListRequest,
    Precondition,
    PutRequest,
    UpdateStatusRequest,
    WatchRequest,
    WatchResponse,
)
from rube.api.errors import (
    CompactedError,
    DeadlineExceededError,
    InvalidArgumentError,
    ResourceExhaustedError,
    RevisionAheadError,
    RubeError,
    StoreChangedError,
)
from rube.api.page_token import TOKEN_CHARS_MAX
from rube.store import ChangeBatch
from rube.transport import rube_error
from tests.conformance.api.api_sites import TYPE, Served, Site, key, serve, unit

FAR = 1 << 60
UNKNOWN = (b"\xa0\x1f\x01", b"\xa2\x1f\x01x", b"\xa1\x1f12345678", b"\xa3\x1f\xa4\x1f")
"""A field of the number 500, of the types that there are on the wire."""


async def filled(api: Served, count: int) -> None:
    for number in range(count):
        await api.put(unit(f"u{number}"))


async def first(api: Served, **request: Any) -> WatchResponse:
    async with api.watch(**request) as watched:
        return await watched.response()


async def watch_error(api: Served, **request: Any) -> RubeError:
    watch = api.client.watch(WatchRequest(**{"type": TYPE, **request}))
    with pytest.raises(RubeError) as raised:
        await anext(watch)
    await watch.aclose()
    return raised.value


# Revisions that are asked for


async def test_a_page_token_with_a_newer_min_revision_is_refused(site: Site) -> None:
    async with serve(site) as api:
        await filled(api, 3)
        page = await api.client.list_page(ListRequest(type=TYPE, page_size=1))
        request = ListRequest(type=TYPE, page_size=1, page_token=page.next_page_token)
        for revision in (page.revision + 1, FAR):
            request.min_revision = revision
            with pytest.raises(InvalidArgumentError, match=f"older than min_revision {revision}: begin a new list"):
                await api.client.list_page(request)
        request.min_revision = page.revision
        assert (await api.client.list_page(request)).revision == page.revision


async def test_all_pages_of_a_list_with_a_min_revision_are_not_older(site: Site) -> None:
    async with serve(site) as api:
        await filled(api, 5)
        request = ListRequest(type=TYPE, page_size=2, min_revision=api.store.revision)
        listed = await api.client.list_objects(request)
        assert len(listed.items) == 5
        assert listed.revision >= request.min_revision


@pytest.mark.parametrize("revision", [FAR, 2**64 - 1])
async def test_a_revision_ahead_of_the_store_is_refused_everywhere(site: Site, revision: int) -> None:
    async with serve(site) as api:
        await filled(api, 1)
        with pytest.raises(RevisionAheadError):
            await api.client.get(GetRequest(key=key("u0"), min_revision=revision), deadline_s=30)
        with pytest.raises(RevisionAheadError):
            await api.client.list_page(ListRequest(type=TYPE, min_revision=revision), deadline_s=30)
        assert isinstance(await watch_error(api, send_initial=True, after_revision=revision), RevisionAheadError)
        assert isinstance(await watch_error(api, after_revision=revision), RevisionAheadError)


async def test_initial_objects_are_not_older_than_the_revision_that_is_asked_for(site: Site) -> None:
    async with serve(site) as api:
        await filled(api, 3)
        for revision in (1, api.store.revision):
            response = await first(api, send_initial=True, after_revision=revision)
            assert len(response.events) == 4
            assert response.revision >= revision


async def test_a_watch_of_another_store_is_refused_with_initial_objects_too(site: Site) -> None:
    async with serve(site) as api:
        for send_initial in (False, True):
            error = await watch_error(api, store_id="another", send_initial=send_initial)
            assert isinstance(error, StoreChangedError)


# Unknown fields


@pytest.mark.parametrize("field", UNKNOWN)
async def test_a_field_that_the_server_does_not_know_is_refused(site: Site, field: bytes) -> None:
    async with serve(site) as api:
        await api.put(unit("a", "as it was"))
        calls: list[tuple[Any, Message]] = [
            (api.client.get, GetRequest(key=key("a"))),
            (api.client.list_page, ListRequest(type=TYPE)),
            (api.client.put, PutRequest(objects=[unit("a", "changed")])),
            (api.client.delete, DeleteRequest(keys=[key("a")])),
            (api.client.update_status, UpdateStatusRequest(key=key("a"))),
        ]
        for call, request in calls:
            request.MergeFromString(field)
            with pytest.raises(InvalidArgumentError, match=r"does not know \(numbers 500\): nothing was done"):
                await call(request)
        watch = WatchRequest(type=TYPE)
        watch.MergeFromString(field)
        with pytest.raises(InvalidArgumentError, match=r"api\.WatchRequest has fields"):
            await anext(api.client.watch(watch))
        assert (await api.get("a")).metadata.generation == 1


@pytest.mark.parametrize("part", ["precondition", "its key", "fence", "key"])
async def test_so_is_one_in_what_qualifies_a_request(site: Site, part: str) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        request = DeleteRequest(
            keys=[key("a")],
            preconditions=[Precondition(key=key("a"), revision=api.store.revision)],
            fence=Fence(group="g", term=1),
        )
        parts: dict[str, Message] = {
            "precondition": request.preconditions[0],
            "its key": request.preconditions[0].key,
            "fence": request.fence,
            "key": request.keys[0],
        }
        parts[part].MergeFromString(UNKNOWN[0])
        with pytest.raises(InvalidArgumentError, match="does not know"):
            await api.client.delete(request)
        await api.get("a")


# Bounds


async def test_a_page_token_that_is_none_is_refused_whatever_its_size(site: Site) -> None:
    async with serve(site) as api:
        await filled(api, 2)
        good = (await api.client.list_page(ListRequest(type=TYPE, page_size=1))).next_page_token
        for token in (
            "x",
            "=" * 10,
            "é",
            good[:-1],
            good + good,
            good.swapcase(),
            "A" * TOKEN_CHARS_MAX,
            "A" * (8 * 1024 * 1024),
            base64.urlsafe_b64encode(bytes(TOKEN_CHARS_MAX)).decode(),
        ):
            with pytest.raises(InvalidArgumentError, match="page_token is not one that this list has given"):
                await api.client.list_page(ListRequest(type=TYPE, page_size=1, page_token=token))


async def test_the_longest_key_has_a_page_token(site: Site) -> None:
    async with serve(site) as api:
        for letter in "ab":
            await api.put(unit(letter * 63, namespace="n" * 63))
        request = ListRequest(type=TYPE, page_size=1)
        token = (await api.client.list_page(request)).next_page_token
        assert len(token) < TOKEN_CHARS_MAX // 4
        assert len((await api.client.list_objects(request)).items) == 2


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"type": "x" * 1_000_000}, "is not a type of object"),
        ({"namespace": "x" * 1_000_000}, "namespace"),
        ({"name": "x" * 1_000_000}, "name"),
        ({"label_selector": "a" * 1_000_000}, "more than 16384"),
        ({"label_selector": "a in (" + "b," * 500_000 + "b)"}, "more than 16384"),
        ({"label_selector": ",".join(f"l{number}" for number in range(100))}, "more than 64 requirements"),
        ({"page_size": -1}, "less than 0"),
    ],
    ids=["type", "namespace", "name", "selector", "values", "requirements", "page size"],
)
async def test_texts_of_any_size_are_refused_in_bounded_time(site: Site, fields: dict[str, Any], match: str) -> None:
    async with serve(site) as api:
        with pytest.raises(InvalidArgumentError, match=match) as raised:
            await api.client.list_page(ListRequest(**{"type": TYPE, **fields}))
        assert len(raised.value.message) <= 1500


async def test_preconditions_and_mask_paths_are_bounded(site: Site) -> None:
    async with serve(site) as api:
        await api.put(unit("a"))
        many = [Precondition(key=key(f"k{number}"), absent=True) for number in range(1001)]
        with pytest.raises(ResourceExhaustedError, match="1001 preconditions"):
            await api.client.put(PutRequest(objects=[unit("a", "b")], preconditions=many))
        status = (await api.set_status("a", "active")).metadata
        request = UpdateStatusRequest(key=key("a"), uid=status.uid, status=(await api.get("a")).status)
        request.update_mask.paths.extend(["active_state"] * 1001)
        with pytest.raises(InvalidArgumentError, match="1001 paths"):
            await api.client.update_status(request)


# The errors of a store's own timeouts


@pytest.mark.parametrize(("recent_bytes_max", "asked"), [(0, "watch"), (1 << 20, "range")])
async def test_a_timeout_of_the_store_is_not_told_as_a_stop(
    site: Site, recent_bytes_max: int, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(site, recent_bytes_max=recent_bytes_max) as api:
        await filled(api, 2)

        async def broken_watch(*_: object, **__: object) -> AsyncIterator[ChangeBatch]:
            raise TimeoutError("no answer of the disk")
            yield

        async def broken_range(*_: object, **__: object) -> None:
            raise TimeoutError("no answer of the disk")

        monkeypatch.setattr(api.store, asked, broken_watch if asked == "watch" else broken_range)
        error = await watch_error(api, after_revision=1)
        assert isinstance(error, DeadlineExceededError)
        assert "the store gave no answer in time (no answer of the disk)" in error.message
        assert not isinstance(error, CompactedError)


@pytest.mark.parametrize("levels", [30, 10_000, 1_000_000])
async def test_nesting_without_end_is_refused(site: Site, levels: int) -> None:
    """Groups in groups, of an unknown field: in the request itself, and in a spec."""
    opened, closed = b"\xa3\x1f", b"\xa4\x1f"
    deep = opened * levels + closed * levels
    async with serve(site) as api, site.host.network.channel(api.address) as channel:
        with pytest.raises(aio.AioRpcError) as raised:
            await channel.unary_unary("/api.Api/List", None, None)(deep)
        told = rube_error(raised.value)
        assert isinstance(told, InvalidArgumentError)
        assert ("cannot be parsed" in told.message) == (levels > 100)
        if levels > 100:
            obj = unit("a")
            obj.spec.value = deep
            with pytest.raises((InvalidArgumentError, ResourceExhaustedError)):
                await api.put(obj)
            assert (await api.put(unit("a"))).metadata[0].name == "a"
