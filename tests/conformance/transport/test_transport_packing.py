"""Packed messages between clients and servers of ours, on every network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import zstandard
from grpc import StatusCode, aio

from rube.api import List, Object
from rube.host.network import MESSAGE_BYTES_MAX
from rube.transport import Encoded
from rube.transport.packing.channel import PackingChannel
from rube.transport.packing.codec import Packer
from rube.transport.packing.form import ASKED_KEY, DICTIONARY, MARK, NAME, PACKED_BYTES_MIN
from tests.conformance.transport.transport_service import SERVICE
from tests.conformance.transport.transport_sites import Served, Site

METHOD = f"/{SERVICE}/unary_unary"
STREAM = f"/{SERVICE}/unary_stream"
ASKED = ((ASKED_KEY, f"other, {NAME}"),)


def of_size(count: int) -> List:
    """A list of so many objects, of 20 bytes each."""
    found = List()
    for number in range(count):
        found.items.add().metadata.name = f"object-{number:07d}"
    return found


WORDS = zstandard.ZstdCompressionDict(DICTIONARY.read_bytes())
SMALL, LARGE = of_size(3), of_size(500)


def packing(site: Site, server: Served) -> PackingChannel:
    return PackingChannel(site.network.channel(server.address), prefix=f"/{SERVICE}/")


def typed(channel: aio.Channel, kind: str) -> Any:
    method: Any = getattr(channel, kind)
    return method(f"/{SERVICE}/{kind}", List.SerializeToString, List.FromString, _registered_method=True)


def raw(site: Site, server: Served) -> Any:
    method: Any = site.network.channel(server.address).unary_unary
    return method(METHOD, _registered_method=True)


class Echo:
    """A service that answers with its request, and keeps the bytes that its requests came as."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    def parse(self, data: bytes) -> List:
        self.came.append(data)
        return List.FromString(data)

    async def one(self, request: List, context: Any) -> List:
        return request

    async def many(self, request: List, context: Any) -> AsyncIterator[Any]:
        for message in (SMALL, request, Encoded(request.SerializeToString())):
            yield message

    def handlers(self) -> dict[str, Any]:
        written = List.SerializeToString
        return {
            "unary_unary": grpc.unary_unary_rpc_method_handler(self.one, self.parse, written),
            "unary_stream": grpc.unary_stream_rpc_method_handler(self.many, self.parse, written),
        }


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_large_messages_are_packed_for_clients_that_ask(site: Site) -> None:
    call = raw(site, await site.serve(**Echo().handlers()))
    large = LARGE.SerializeToString()
    packed = await call(large, metadata=ASKED)
    assert packed[:1] == MARK
    assert len(packed) < len(large) / 2
    assert List.FromString(Packer().unpack(packed, len(large))) == LARGE
    assert await call(large) == large
    assert await call(large, metadata=((ASKED_KEY, "other"),)) == large
    small = SMALL.SerializeToString()
    assert await call(small, metadata=ASKED) == small


async def test_requests_are_packed_once_the_server_has_shown_that_it_unpacks(site: Site) -> None:
    echo = Echo()
    call = typed(packing(site, await site.serve(**echo.handlers())), "unary_unary")
    for _ in range(2):
        assert await call(LARGE) == LARGE
        assert await call(SMALL, metadata=(("own", "metadata"),)) == SMALL
    plain, small = LARGE.SerializeToString(), SMALL.SerializeToString()
    assert echo.came[:2] == [plain, small]
    packed, unpacked, again = echo.came[2:]
    assert packed[:1] == MARK
    assert (unpacked, again) == (plain, small)


async def test_a_large_request_with_a_small_answer_shows_it_too(site: Site) -> None:
    async def count(request: List, context: Any) -> List:
        return SMALL

    echo = Echo()
    handler = grpc.unary_unary_rpc_method_handler(count, echo.parse, List.SerializeToString)
    call = typed(packing(site, await site.serve(unary_unary=handler)), "unary_unary")
    for _ in range(2):
        assert await call(LARGE) == SMALL
    assert [data[:1] == MARK for data in echo.came] == [False, True, False]


async def test_one_stream_has_packed_and_plain_messages(site: Site) -> None:
    server = await site.serve(**Echo().handlers())
    call = typed(packing(site, server), "unary_stream")(LARGE)
    assert [message async for message in call] == [SMALL, LARGE, LARGE]
    method: Any = site.network.channel(server.address).unary_stream
    seen = method(STREAM, _registered_method=True)(LARGE.SerializeToString(), metadata=ASKED)
    assert [data[:1] == MARK async for data in seen] == [False, True, True]


def undeclared(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(dict_data=WORDS, write_content_size=False).compress(data)


async def test_bombs_and_broken_frames_are_refused(site: Site) -> None:
    call = raw(site, await site.serve(**Echo().handlers()))
    good = Packer().pack(LARGE.SerializeToString())
    for data, code in (
        (Packer().pack(bytes(MESSAGE_BYTES_MAX + 1)), StatusCode.RESOURCE_EXHAUSTED),
        (MARK + undeclared(bytes(5000)), StatusCode.INVALID_ARGUMENT),
        (MARK + zstandard.ZstdCompressor().compress(LARGE.SerializeToString()), StatusCode.INVALID_ARGUMENT),
        (good[:-1], StatusCode.INVALID_ARGUMENT),
        (good + b"x", StatusCode.INVALID_ARGUMENT),
        (MARK, StatusCode.INVALID_ARGUMENT),
        (MARK + b"nonsense", StatusCode.INVALID_ARGUMENT),
        (Packer().pack(b"\x0a"), StatusCode.INVALID_ARGUMENT),
    ):
        assert (await failure(call(data))).code() is code, data[:20]
    assert await call(good) == LARGE.SerializeToString()


def test_no_message_begins_with_the_mark() -> None:
    assert len(LARGE.SerializeToString()) > PACKED_BYTES_MIN > len(SMALL.SerializeToString())
    for kind in (List, Object):
        with pytest.raises(Exception, match="parsing"):
            kind.FromString(MARK + LARGE.SerializeToString())
