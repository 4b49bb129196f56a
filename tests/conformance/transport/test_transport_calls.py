"""Unary calls: status, error details, metadata, deadlines, cancellation, sizes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import StatusCode, aio

from rube.api.errors import AbortedError, CompactedError, UnimplementedError
from rube.host import ServerOptions
from rube.transport import rube_error
from tests.conformance.transport.transport_service import Client, echo, never
from tests.conformance.transport.transport_sites import Site, client, until

MIB = 1024 * 1024


async def failure(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_a_call_returns_the_response(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    call = client(site, server).unary_unary(b"hello")
    assert await call == b"hello"
    assert (await call.code(), call.done(), call.cancelled()) == (StatusCode.OK, True, False)


async def test_an_unknown_method_is_unimplemented(site: Site) -> None:
    server = await site.serve(unary_unary=echo)
    assert (await failure(client(site, server).missing(b""))).code() is StatusCode.UNIMPLEMENTED


async def test_abort_carries_code_details_and_trailers(site: Site) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        await context.abort(StatusCode.NOT_FOUND, "no such thing", (("why", "because"), ("data-bin", b"\x00\xff")))
        return b""

    error = await failure(client(site, await site.serve(unary_unary=refuse)).unary_unary(b""))
    assert (error.code(), error.details()) == (StatusCode.NOT_FOUND, "no such thing")
    trailers = dict(error.trailing_metadata())  # type: ignore[arg-type, var-annotated]  # grpc-stubs lag behind
    assert (trailers["why"], trailers["data-bin"]) == ("because", b"\x00\xff")


async def test_a_status_set_without_abort_ends_the_call_with_it(site: Site) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        context.set_code(StatusCode.RESOURCE_EXHAUSTED)
        context.set_details("enough")
        return b"ignored"

    error = await failure(client(site, await site.serve(unary_unary=refuse)).unary_unary(b""))
    assert (error.code(), error.details()) == (StatusCode.RESOURCE_EXHAUSTED, "enough")


async def test_a_rube_error_arrives_as_its_class_with_metadata(site: Site) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        if request == b"stale":
            raise AbortedError("the object has changed – read it again", key="a/b", revision=7)
        raise CompactedError("too old", oldest_revision=3)

    calls = client(site, await site.serve(unary_unary=refuse))
    stale = rube_error(await failure(calls.unary_unary(b"stale")))
    assert type(stale) is AbortedError
    assert stale.message == "the object has changed – read it again"
    assert stale.metadata == {"key": "a/b", "revision": "7"}
    assert type(rube_error(await failure(calls.unary_unary(b"")))) is CompactedError


async def test_an_error_too_long_for_metadata_is_cut(site: Site) -> None:
    async def refuse(request: bytes, context: Any) -> bytes:
        raise AbortedError("é" * 100_000, key="k" * 100_000)

    error = rube_error(await failure(client(site, await site.serve(unary_unary=refuse)).unary_unary(b"")))
    assert type(error) is AbortedError
    assert error.message.startswith("ééé")
    assert error.message.endswith(" ...")


async def test_an_unexpected_exception_is_internal_and_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: bytes, context: Any) -> bytes:
        raise ValueError("a secret")

    calls = client(site, await site.serve(unary_unary=fail))
    with caplog.at_level(logging.ERROR, logger="rube.transport"):
        error = await failure(calls.unary_unary(b""))
    assert error.code() is StatusCode.INTERNAL
    assert "secret" not in str(error.details())
    assert "ValueError: a secret" in caplog.text
    assert (await failure(calls.unary_unary(b""))).code() is StatusCode.INTERNAL  # the server lives


async def test_a_method_without_implementation_is_unimplemented(site: Site) -> None:
    def unwritten(request: bytes, context: Any) -> bytes:
        context.set_code(StatusCode.UNIMPLEMENTED)
        raise NotImplementedError("Method not implemented!")

    error = await failure(client(site, await site.serve(unary_unary=unwritten)).unary_unary(b""))
    assert type(rube_error(error)) is UnimplementedError


async def test_metadata_travels_both_ways(site: Site) -> None:
    seen: dict[str, str | bytes] = {}

    async def answer(request: bytes, context: Any) -> bytes:
        seen.update(dict(context.invocation_metadata()))
        await context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"), ("raw-bin", b"\x01")))
        return request

    call = client(site, await site.serve(unary_unary=answer)).unary_unary(
        b"", metadata=(("name", "value"), ("bytes-bin", b"\x00\x80"))
    )
    await call
    assert (seen["name"], seen["bytes-bin"]) == ("value", b"\x00\x80")
    assert dict(await call.initial_metadata())["first"] == "1"
    trailers = dict(await call.trailing_metadata())
    assert (trailers["last"], trailers["raw-bin"]) == ("2", b"\x01")


async def test_a_deadline_ends_the_call_on_both_sides(site: Site) -> None:
    seen: list[Any] = []

    async def slow(request: bytes, context: Any) -> bytes:
        seen.append(context.time_remaining())
        try:
            return await never(request, context)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    call = client(site, await site.serve(unary_unary=slow)).unary_unary(b"", timeout=0.2)
    assert 0 < (call.time_remaining() or 0) <= 0.201
    assert (await failure(call)).code() is StatusCode.DEADLINE_EXCEEDED
    await until(lambda: len(seen) == 2)
    assert 0 < seen[0] <= 0.201
    assert seen[1] == "cancelled"


async def test_a_call_without_deadline_has_time(site: Site) -> None:
    async def remaining(request: bytes, context: Any) -> bytes:
        left = context.time_remaining()
        return b"endless" if left is None or left > 1e6 else b"short"

    assert await client(site, await site.serve(unary_unary=remaining)).unary_unary(b"") == b"endless"


async def test_cancelling_a_call_cancels_its_handler(site: Site) -> None:
    events: list[str] = []

    async def slow(request: bytes, context: Any) -> bytes:
        context.add_done_callback(lambda _: events.append("done"))
        events.append("running")
        try:
            return await never(request, context)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    call = client(site, await site.serve(unary_unary=slow)).unary_unary(b"")
    await until(lambda: events == ["running"])
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert call.cancelled()
    assert await call.code() is StatusCode.CANCELLED
    assert not call.cancel()
    await until(lambda: len(events) == 3)
    assert sorted(events) == ["cancelled", "done", "running"]


async def test_cancelling_the_waiting_task_cancels_the_call(site: Site) -> None:
    events: list[str] = []

    async def slow(request: bytes, context: Any) -> bytes:
        events.append("running")
        try:
            return await never(request, context)
        finally:
            events.append("ended")

    calls = client(site, await site.serve(unary_unary=slow))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await calls.unary_unary(b"")
    await until(lambda: events == ["running", "ended"])


async def test_a_handler_that_awaits_something_cancelled_ends_the_call(site: Site) -> None:
    async def confused(request: bytes, context: Any) -> bytes:
        inner = asyncio.ensure_future(never(request, context))
        inner.cancel()
        return await inner

    error = await failure(client(site, await site.serve(unary_unary=confused)).unary_unary(b"", timeout=5))
    assert (error.code(), error.details()) == (StatusCode.CANCELLED, "cancelled by the server")


async def test_large_messages_pass_and_larger_ones_are_refused(site: Site) -> None:
    calls = client(site, await site.serve(unary_unary=echo))
    large = bytes(20 * MIB)
    assert await calls.unary_unary(large) == large
    error = await failure(calls.unary_unary(bytes(32 * MIB + 1)))
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert await calls.unary_unary(b"still there") == b"still there"


async def test_a_response_past_the_limit_is_refused(site: Site) -> None:
    async def much(request: bytes, context: Any) -> bytes:
        return bytes(2000)

    server = await site.serve(options=ServerOptions(message_bytes_max=1000), unary_unary=much)
    assert (await failure(client(site, server).unary_unary(b""))).code() is StatusCode.RESOURCE_EXHAUSTED


async def test_a_slow_call_does_not_hold_up_others(site: Site) -> None:
    release = asyncio.Event()

    async def maybe_slow(request: bytes, context: Any) -> bytes:
        if request == b"slow":
            await release.wait()
        return request

    calls = client(site, await site.serve(unary_unary=maybe_slow))
    slow = calls.unary_unary(b"slow")
    answers = await asyncio.gather(*(calls.unary_unary(b"%d" % number) for number in range(50)))
    assert answers == [b"%d" % number for number in range(50)]
    assert not slow.done()
    release.set()
    assert await slow == b"slow"


class Stamp(aio.ServerInterceptor):  # type: ignore[type-arg]  # it takes none at run time
    """Refuses calls without a token."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if ("token", "yes") in tuple(handler_call_details.invocation_metadata):
            return await continuation(handler_call_details)

        async def refuse(request: bytes, context: Any) -> None:
            await context.abort(StatusCode.UNAUTHENTICATED, "no token")

        return grpc.unary_unary_rpc_method_handler(refuse)


async def test_server_interceptors_stand_before_the_handlers(site: Site) -> None:
    server = await site.serve(options=ServerOptions(interceptors=(Stamp(),)), unary_unary=echo)
    calls = client(site, server)
    assert (await failure(calls.unary_unary(b""))).code() is StatusCode.UNAUTHENTICATED
    assert await calls.unary_unary(b"in", metadata=(("token", "yes"),)) == b"in"


class Token(aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # grpc-stubs lag behind
    """Adds a token to every unary call."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: bytes) -> Any:
        client_call_details.metadata.add("token", "yes")
        return await continuation(client_call_details, request)


class StreamToken(aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]  # grpc-stubs lag behind
    """Adds a token to every server-streaming call."""

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: bytes) -> Any:
        client_call_details.metadata.add("token", "yes")
        return await continuation(client_call_details, request)


async def test_client_interceptors_stand_before_the_calls(site: Site) -> None:
    async def token(request: bytes, context: Any) -> bytes:
        return str(dict(context.invocation_metadata()).get("token")).encode()

    async def tokens(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await token(request, context)

    server = await site.serve(unary_unary=token, unary_stream=tokens)
    assert await client(site, server).unary_unary(b"") == b"None"
    interceptors: Any = (Token(), StreamToken())
    calls = Client(site.network.channel(server.address, interceptors=interceptors))
    call = calls.unary_unary(b"", metadata=(("other", "1"),), timeout=5)
    assert await call == b"yes"
    assert await call.code() is StatusCode.OK
    assert [message async for message in calls.unary_stream(b"")] == [b"yes"]
