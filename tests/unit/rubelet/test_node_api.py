"""The node's own API on a copy made by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any as AnyType

import pytest
from google.protobuf.any_pb2 import Any

from rube.api import GetRequest, ListRequest, Object, WatchRequest
from rube.api.errors import (
    CompactedError,
    FailedPreconditionError,
    NotFoundError,
    RevisionAheadError,
    StoreChangedError,
)
from rube.api.keys import ObjectKey, key_of
from rube.controllers.ports import Listener, Position
from rube.rubelet.node_api import NodeApi

UNIT = "api.systemd.Unit"
CONTEXT: AnyType = None
"""None of the methods looks at it."""
NO_LOGS: AnyType = None
"""Logs have tests of their own."""


def unit(name: str, namespace: str = "system", **labels: str) -> Object:
    obj = Object(spec=Any(type_url=f"rube/{UNIT}"))
    obj.metadata.namespace, obj.metadata.name = namespace, name
    for label, value in labels.items():
        obj.metadata.labels[label] = value
    return obj


class Copy:
    """Cache and unsent statuses."""

    synced = connected = True

    def __init__(self, *objects: Object) -> None:
        self.objects = {key_of(obj): obj for obj in objects}
        self.unsent: dict[ObjectKey, Any] = {}
        self.listeners: list[Callable[..., None]] = []

    def get(self, key: ObjectKey) -> Object | None:
        return self.objects.get(key)

    def list(self, type_name: str) -> Sequence[Object]:
        return [self.objects[key] for key in sorted(self.objects)]

    def position(self, type_name: str) -> Position | None:
        return Position(20, "store-1") if type_name == UNIT else None

    def subscribe(self, listener: Listener | Callable[[ObjectKey], None]) -> None:
        self.listeners.append(listener)

    def unsubscribe(self, listener: Listener | Callable[[ObjectKey], None]) -> None:
        self.listeners.remove(listener)

    def unsent_status(self, key: ObjectKey) -> Any | None:
        return self.unsent.get(key)

    def tell(self) -> None:
        for listener in self.listeners:
            listener(None)


def api_of(copy: Copy) -> NodeApi:
    return NodeApi(copy, {UNIT: copy}, NO_LOGS, "worker-1")  # type: ignore[arg-type]  # a stand-in


def listed(copy: Copy, **request: AnyType) -> list[str]:
    response = asyncio.run(api_of(copy).List(ListRequest(type=UNIT, **request), CONTEXT))
    assert (response.revision, response.store_id) == (20, "store-1")
    return [obj.metadata.name for obj in response.items]


def test_lists_are_filtered_as_an_apiserver_does() -> None:
    copy = Copy(unit("api", tier="web"), unit("web", tier="web"), unit("api", "other"))
    assert listed(copy) == ["api", "api", "web"]
    assert listed(copy, namespace="system") == ["api", "web"]
    assert listed(copy, name="web") == ["web"]
    assert listed(copy, label_selector="!tier") == ["api"]


def test_a_status_not_yet_reported_is_shown() -> None:
    copy = Copy(unit("web"))
    key = key_of(unit("web"))
    copy.unsent[key] = Any(type_url="rube/api.systemd.UnitStatus", value=b"x")
    response = asyncio.run(api_of(copy).Get(GetRequest(key=key.to_proto()), CONTEXT))
    assert response.object.status == copy.unsent[key]
    assert not copy.objects[key].HasField("status"), "the copy itself stays"


def test_types_that_a_node_does_not_keep_are_not_found() -> None:
    with pytest.raises(NotFoundError, match=r"keeps no objects of type 'api\.Node'"):
        asyncio.run(api_of(Copy()).List(ListRequest(type="api.Node"), CONTEXT))


@pytest.mark.parametrize("verb", ["Put", "Delete", "UpdateStatus"])
def test_writes_are_refused(verb: str) -> None:
    with pytest.raises(FailedPreconditionError, match=r"write to an apiserver instead \(--server\)"):
        asyncio.run(getattr(api_of(Copy()), verb)(None, CONTEXT))


@pytest.mark.parametrize(
    ("after", "store", "error"),
    [(19, "", CompactedError), (21, "", RevisionAheadError), (20, "store-0", StoreChangedError)],
)
def test_a_watch_resumes_only_from_where_the_copy_is(after: int, store: str, error: type[Exception]) -> None:
    async def main() -> None:
        request = WatchRequest(type=UNIT, after_revision=after, store_id=store)
        with pytest.raises(error):
            await anext(api_of(Copy()).Watch(request, CONTEXT))

    asyncio.run(main())


def test_a_watch_shows_changes_deletes_and_statuses_and_lets_go_at_its_end() -> None:
    async def main() -> None:
        copy = Copy(unit("api"), unit("web"))
        watch = api_of(copy).Watch(WatchRequest(type=UNIT, name="web"), CONTEXT)
        async with aclosing(watch):  # type: ignore[type-var]
            first = await anext(watch)
            assert [event.WhichOneof("event") for event in first.events] == ["bookmark"]
            copy.unsent[key_of(unit("web"))] = Any(type_url="rube/api.systemd.UnitStatus")
            copy.tell()
            (event,) = (await anext(watch)).events
            assert event.update.HasField("status")
            del copy.objects[key_of(unit("web"))]
            copy.tell()
            (event,) = (await anext(watch)).events
            assert event.delete.metadata.name == "web"
        assert copy.listeners == []

    asyncio.run(main())
