"""The node's own API over copies of any size: pages, responses that fit, and revisions that are asked for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any as AnyType

import pytest
from google.protobuf.any_pb2 import Any

from rube.api import GetRequest, ListRequest, ListResponse, Object, WatchRequest
from rube.api.errors import CompactedError, InvalidArgumentError, RevisionAheadError, RubeError, StoreChangedError
from rube.api.keys import ObjectKey, key_of
from rube.client import CacheState, ObjectCache
from rube.controllers.ports import Position
from rube.host.network import RESPONSE_BYTES_MAX
from rube.rubelet.node_api import NodeApi

UNIT = "api.systemd.Unit"
CONTEXT: AnyType = None
"""None of the methods looks at it."""
NO_LOGS: AnyType = None
"""Logs have tests of their own."""
LARGE = 2 * 1024 * 1024 - 200
"""Objects near the size limit, and as many as fill several messages."""


def unit(name: str, namespace: str = "system", size_bytes: int = 0, revision: int = 1) -> Object:
    obj = Object(spec=Any(type_url=f"rube/{UNIT}", value=b"x" * size_bytes))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.revision = namespace, name, revision
    return obj


class Copy:
    """Cache and unsent statuses; `position` moves as the test says."""

    synced = connected = True

    def __init__(self, *objects: Object) -> None:
        self.objects = {key_of(obj): obj for obj in objects}
        self.at = Position(20, "store-1")
        self.listeners: list[AnyType] = []

    def get(self, key: ObjectKey) -> Object | None:
        return self.objects.get(key)

    def list(self, type_name: str) -> list[Object]:
        return [self.objects[key] for key in sorted(self.objects)]

    def position(self, type_name: str) -> Position | None:
        return self.at if type_name == UNIT else None

    def subscribe(self, listener: AnyType) -> None:
        self.listeners.append(listener)

    def unsubscribe(self, listener: AnyType) -> None:
        self.listeners.remove(listener)

    def unsent_status(self, key: ObjectKey) -> Any | None:
        return None

    def move(self, revision: int) -> None:
        self.at = Position(revision, self.at.store_id)
        for listener in self.listeners:
            listener(None)


def api_of(copy: AnyType) -> NodeApi:
    return NodeApi(copy, {UNIT: copy}, NO_LOGS, "worker-1")


def page(copy: Copy, **fields: AnyType) -> ListResponse:
    return asyncio.run(api_of(copy).List(ListRequest(type=UNIT, **fields), CONTEXT))


def error_of(call: AnyType) -> RubeError:
    with pytest.raises(RubeError) as raised:
        asyncio.run(call)
    return raised.value


def test_pages_are_cut_by_number_and_by_bytes() -> None:
    copy = Copy(
        *(unit(f"u{number}") for number in range(7)), *(unit(f"v{number}", size_bytes=LARGE) for number in range(4))
    )
    names: list[str] = []
    sizes: list[int] = []
    token = ""
    while True:
        response = page(copy, page_size=5, page_token=token)
        assert response.ByteSize() <= RESPONSE_BYTES_MAX + 1024
        sizes.append(len(response.items))
        names += [obj.metadata.name for obj in response.items]
        token = response.next_page_token
        if not token:
            break
    assert names == [*(f"u{number}" for number in range(7)), *(f"v{number}" for number in range(4))]
    assert sizes == [5, 3, 1, 1, 1]


def test_pages_go_by_the_order_of_an_apiserver() -> None:
    """Namespace `a-b` comes before `a` there, since '-' comes before '/'."""
    copy = Copy(unit("x", "a"), unit("x", "a-b"), unit("x", "b"))
    first = page(copy, page_size=1)
    second = page(copy, page_size=2, page_token=first.next_page_token)
    found = [obj.metadata.namespace for response in (first, second) for obj in response.items]
    assert found == ["a-b", "a", "b"]


def test_a_page_of_a_copy_that_has_moved_is_refused_as_history_that_is_gone() -> None:
    copy = Copy(unit("a"), unit("b"))
    token = page(copy, page_size=1).next_page_token
    copy.move(21)
    error = error_of(api_of(copy).List(ListRequest(type=UNIT, page_token=token), CONTEXT))
    assert isinstance(error, CompactedError)
    assert "begin the list again" in error.message


@pytest.mark.parametrize("token", ["x", "A" * 100_000, "é"])
def test_a_page_token_that_is_none_is_refused(token: str) -> None:
    error = error_of(api_of(Copy()).List(ListRequest(type=UNIT, page_token=token), CONTEXT))
    assert isinstance(error, InvalidArgumentError)


def test_a_negative_page_size_is_refused() -> None:
    error = error_of(api_of(Copy()).List(ListRequest(type=UNIT, page_size=-1), CONTEXT))
    assert isinstance(error, InvalidArgumentError)


def test_revisions_that_the_copy_has_not_reached_are_refused() -> None:
    api = api_of(Copy(unit("a")))
    key = key_of(unit("a")).to_proto()

    async def watch(**fields: AnyType) -> None:
        await anext(api.Watch(WatchRequest(type=UNIT, **fields), CONTEXT))

    for call in (
        api.Get(GetRequest(key=key, min_revision=21), CONTEXT),
        api.List(ListRequest(type=UNIT, min_revision=21), CONTEXT),
        watch(after_revision=21),
        watch(after_revision=21, send_initial=True),
    ):
        assert isinstance(error_of(call), RevisionAheadError)
    assert isinstance(error_of(watch(send_initial=True, store_id="another")), StoreChangedError)
    assert asyncio.run(api.Get(GetRequest(key=key, min_revision=20), CONTEXT)).revision == 20


def test_a_field_that_nobody_knows_is_refused() -> None:
    request = ListRequest(type=UNIT)
    request.MergeFromString(b"\xa0\x1f\x01")
    assert "does not know" in error_of(api_of(Copy()).List(request, CONTEXT)).message


def test_a_watch_of_a_large_copy_comes_in_pieces_that_a_client_puts_together() -> None:
    async def main() -> None:
        copy = Copy(*(unit(f"u{number}", size_bytes=LARGE) for number in range(4)))
        replica = ObjectCache(CacheState())
        replica.begin()
        watch = api_of(copy).Watch(WatchRequest(type=UNIT, send_initial=True), CONTEXT)
        async with aclosing(watch):  # type: ignore[type-var]
            for count in range(1, 5):
                response = await anext(watch)
                assert response.ByteSize() <= RESPONSE_BYTES_MAX
                batch = replica.prepare(response)
                assert (batch is not None) == (count == 4)
            assert batch is not None
            replica.commit(batch)
            assert (len(replica.objects), replica.revision) == (4, 20)
            for number in range(4):
                changed = unit(f"u{number}", size_bytes=LARGE, revision=25)
                copy.objects[key_of(changed)] = changed
            copy.move(25)
            revisions = []
            for _ in range(4):
                response = await anext(watch)
                assert response.ByteSize() <= RESPONSE_BYTES_MAX
                batch = replica.prepare(response)
                assert batch is not None
                replica.commit(batch)
                revisions.append(replica.revision)
            assert revisions == [20, 20, 20, 25]
            assert all(obj.metadata.revision == 25 for obj in replica.objects.values())

    asyncio.run(main())
