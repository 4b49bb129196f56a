"""Answers the requests of apiservers to this node, through calls that the node holds open to each of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from grpc import aio

from rube.api import LogsResponse, NodeReply, NodeRequest, NodeRequestsRequest, NodesStub
from rube.api.errors import (
    DeadlineExceededError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
    UnimplementedError,
    encode_error,
)
from rube.client import FailureLog
from rube.host import Host
from rube.host.backoff import Backoff
from rube.rubelet.config import RubeletConfig
from rube.rubelet.logs import NodeLogs
from rube.transport import rube_error

_LOG = logging.getLogger("rube.rubelet")
ATTACH_S_MAX = 10.0
"""A server that does not answer for so long hangs."""
BACKOFF_S_INITIAL = 0.5
BACKOFF_S_MAX = 15.0
ANSWERS_MAX = 16
"""Under way for one server."""


class Requests:
    """The node's calls to all servers at once, since users may ask any of them."""

    def __init__(self, host: Host, config: RubeletConfig, instance_id: str, logs: NodeLogs) -> None:
        self._host = host
        self._config = config
        self._instance_id = instance_id
        self._logs = logs

    async def run(self) -> None:
        """Runs until cancelled. A server that is away, or too old for requests, does not end it."""
        async with asyncio.TaskGroup() as group:
            for server in self._config.servers:
                group.create_task(self._attend(server))

    async def _attend(self, server: str) -> None:
        failures = FailureLog(_LOG, f"requests from {server}")
        stream = self._host.random.stream(f"requests/{server}")
        backoff = Backoff(stream, initial_s=BACKOFF_S_INITIAL, max_s=BACKOFF_S_MAX)
        who = NodeRequestsRequest(node=self._config.node, instance_id=self._instance_id)

        def attached() -> None:
            backoff.reset()
            failures.works()

        channel = self._host.network.channel(server)
        try:
            while True:
                try:
                    await _Attachment(self._host, channel, self._logs, who).run(attached)
                except UnimplementedError as error:
                    failures.failed(f"it cannot ask for logs: {error.message}", level=logging.INFO)
                except RubeError as error:
                    failures.failed(error.message, level=logging.INFO)
                await self._host.clock.sleep(backoff.next_s())
        finally:
            await channel.close(None)


class _Attachment:
    """One open call, and the answers to the requests that came through it."""

    def __init__(self, host: Host, channel: aio.Channel, logs: NodeLogs, who: NodeRequestsRequest) -> None:
        self._clock = host.clock
        self._stub = NodesStub(channel)
        self._logs = logs
        self._who = who
        self._answers: dict[str, asyncio.Task[None]] = {}

    async def run(self, attached: Callable[[], None]) -> None:
        """Runs until the call ends, which is a RubeError. Its answers end with it."""
        call = self._stub.Requests(self._who)
        try:
            await self._first(call)
            attached()
            while isinstance(asked := await call.read(), NodeRequest):
                self._take(asked)
            raise UnavailableError("the server ended the call")
        except aio.AioRpcError as error:
            raise rube_error(error) from error
        finally:
            call.cancel()
            answers = tuple(self._answers.values())
            for answer in answers:
                answer.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    async def _first(self, call: aio.UnaryStreamCall[NodeRequestsRequest, NodeRequest]) -> None:
        try:
            async with self._clock.timeout(ATTACH_S_MAX):
                await call.read()
        except TimeoutError as error:
            raise DeadlineExceededError(f"the server did not answer within {ATTACH_S_MAX:g} s") from error

    def _take(self, asked: NodeRequest) -> None:
        match asked.WhichOneof("request"):
            case "logs":
                task = asyncio.create_task(self._answer(asked))
                self._answers[asked.id] = task
                task.add_done_callback(lambda _: self._answers.pop(asked.id, None))
            case "cancel":
                if (answer := self._answers.get(asked.id)) is not None:
                    answer.cancel()
            case None:
                pass  # an unknown request of a newer server stays unanswered

    async def _answer(self, asked: NodeRequest) -> None:
        """Sends the parts one after the other: the next is read once the server has taken the one before."""
        try:
            try:
                if len(self._answers) > ANSWERS_MAX:
                    raise ResourceExhaustedError(
                        f"node {self._who.node} answers {ANSWERS_MAX} requests of one apiserver already: end one",
                        limit=ANSWERS_MAX,
                    )
                async with aclosing(self._logs.read(asked.logs)) as responses:
                    async for response in responses:
                        if await self._reply(asked.id, logs=response):
                            return
            except RubeError as error:
                await self._reply(asked.id, end=encode_error(error))
            else:
                await self._reply(asked.id, end=b"")
        except aio.AioRpcError as error:
            _LOG.debug("an answer was not taken: %s", error.details())  # the server has gone

    async def _reply(self, request_id: str, *, logs: LogsResponse | None = None, end: bytes = b"") -> bool:
        """Sends one part; returns whether the receiver is gone."""
        reply = NodeReply(node=self._who.node, instance_id=self._who.instance_id, id=request_id)
        if logs is None:
            reply.end = end
        else:
            reply.logs.CopyFrom(logs)
        return (await self._stub.Reply(reply)).stop
