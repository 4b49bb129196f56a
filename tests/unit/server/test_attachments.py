"""Nodes attached to a server: bounds, back pressure, and what ends an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from rube.api import LogsRequest, LogsResponse, NodeReply
from rube.api.errors import (
    InvalidArgumentError,
    NotDoneError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
    encode_error,
)
from rube.host import RealClock
from rube.server.attachments import PARTS_MAX, Attachments, ending_of

REQUEST = LogsRequest(follow=True)


def made(**limits: int) -> Attachments:
    return Attachments(RealClock(), **{"node_answers_max": 4, "answers_max": 6, **limits})


def run(body: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await body

    asyncio.run(bounded())


def part(request_id: str) -> NodeReply:
    return NodeReply(id=request_id, logs=LogsResponse())


def test_a_request_goes_out_and_its_parts_come_back_in_order() -> None:
    async def body() -> None:
        attachments = made()
        node = attachments.attach("w", "i")
        async with attachments.ask_logs(node, REQUEST) as answer:
            sent = await node.next()
            assert sent.logs == REQUEST
            for number in range(PARTS_MAX):
                reply = part(sent.id)
                reply.logs.gaps = number
                assert await node.take(reply)
            assert await node.take(NodeReply(id="another", end=b"")) is False
            assert [(await answer.take()).logs.gaps for _ in range(PARTS_MAX)] == list(range(PARTS_MAX))

    run(body())


def test_a_reader_that_is_slow_holds_the_node_back() -> None:
    async def body() -> None:
        attachments = made()
        node = attachments.attach("w", "i")
        async with attachments.ask_logs(node, REQUEST) as answer:
            for _ in range(PARTS_MAX):
                await node.take(part(answer.id))
            waiting = asyncio.ensure_future(node.take(part(answer.id)))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await answer.take()
            assert await waiting

    run(body())


def test_a_reader_that_leaves_frees_the_node_and_it_is_told() -> None:
    async def body() -> None:
        attachments = made()
        node = attachments.attach("w", "i")
        async with attachments.ask_logs(node, REQUEST) as answer:
            await node.next()
            for _ in range(PARTS_MAX):
                await node.take(part(answer.id))
            waiting = asyncio.ensure_future(node.take(part(answer.id)))
            await asyncio.sleep(0)
        assert await waiting is False
        told = await node.next()
        assert (told.id, told.WhichOneof("request")) == (answer.id, "cancel")
        assert await node.take(part(answer.id)) is False

    run(body())


def test_requests_are_bounded_for_each_node_and_for_the_server() -> None:
    async def body() -> None:
        attachments = made(node_answers_max=2, answers_max=3)
        one, two = attachments.attach("one", "i"), attachments.attach("two", "i")
        async with (
            attachments.ask_logs(one, REQUEST),
            attachments.ask_logs(one, REQUEST),
        ):
            with pytest.raises(ResourceExhaustedError, match="node one answers 2"):
                async with attachments.ask_logs(one, REQUEST):
                    pass
            async with attachments.ask_logs(two, REQUEST):
                with pytest.raises(ResourceExhaustedError, match=r"3 requests .*answers_max"):
                    async with attachments.ask_logs(two, REQUEST):
                        pass
        async with attachments.ask_logs(one, REQUEST):
            pass  # all are given back

    run(body())


@pytest.mark.parametrize("how", ["detach", "newer", "stop"])
def test_what_ends_the_call_ends_its_answers_with_a_reason(how: str) -> None:
    async def body() -> None:
        attachments = made()
        node = attachments.attach("w", "i")
        async with attachments.ask_logs(node, REQUEST) as answer:
            await node.take(part(answer.id))
            match how:
                case "detach":
                    attachments.detach(node)
                    assert attachments.departed_ns("w")
                case "newer":
                    newer = attachments.attach("w", "i")
                    attachments.detach(node)
                    assert attachments.find("w") is newer
                case "stop":
                    attachments.stop()
            await answer.take()
            with pytest.raises(NotDoneError if how == "stop" else UnavailableError, match=r"w went away|stopping"):
                await answer.take()
            with pytest.raises(UnavailableError):
                await node.next()

    run(body())


def test_an_answer_ends_with_the_nodes_own_error() -> None:
    error = ending_of(NodeReply(end=encode_error(InvalidArgumentError("no such thing", field="x"))))
    assert isinstance(error, InvalidArgumentError)
    assert (error.message, error.metadata) == ("no such thing", {"field": "x"})
    assert ending_of(NodeReply(end=b"")) is None
    assert type(ending_of(NodeReply(end=b"\xff\xff garbage"))) is RubeError
