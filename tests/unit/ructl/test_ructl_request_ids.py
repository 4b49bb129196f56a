"""The writes to which ructl gives an id, so that the next server can be asked after a lost answer."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from rube.api import DeleteRequest, DeleteResponse, Key, Precondition
from rube.client import Client
from ructl.connection import Connection
from ructl.options import Target

KEY = Key(type="api.systemd.Unit", namespace="system", name="a")


class FakeClient:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.seen: list[DeleteRequest] = []

    async def delete(self, request: DeleteRequest) -> DeleteResponse:
        self.seen.append(request)
        return DeleteResponse()


def ids(servers: tuple[str, ...], request: DeleteRequest) -> list[str]:
    """The ids of the request, sent twice."""
    client = FakeClient()
    connection = Connection(cast(Client, client), Target(endpoints=servers, timeout_s=1.0))

    async def twice() -> None:
        await connection.delete(request)
        await connection.delete(request)

    asyncio.run(twice())
    return [seen.request_id for seen in client.seen]


def test_each_write_has_an_id_of_its_own_where_there_are_several_servers() -> None:
    request = DeleteRequest(keys=[KEY])
    one, other = ids(("a:1", "b:1"), request)
    assert one
    assert other not in ("", one)
    assert not request.request_id


@pytest.mark.parametrize(
    ("servers", "more"),
    [
        (("a:1",), {}),
        (("a:1", "b:1"), {"preconditions": [Precondition(uid="x")]}),
        (("a:1", "b:1"), {"validate_only": True}),
    ],
    ids=["one server", "a precondition", "a dry run"],
)
def test_other_writes_have_none(servers: tuple[str, ...], more: dict[str, Any]) -> None:
    assert ids(servers, DeleteRequest(keys=[KEY], **more)) == ["", ""]
