"""Logs: asks the node that a unit is bound to, and passes its answer on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from rube.api import LogsRequest, LogsResponse, NodeReply, NodeStatus, Object
from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.api.types import BUILTIN
from rube.api.well_known import UNIT_TYPE, bound_node, silent_since
from rube.controllers.cluster.types import node_key
from rube.host import Host
from rube.server.attachments import Answer, Attachments, ending_of
from rube.server.objects import decode
from rube.store import Store

FIRST_ANSWER_S_MAX = 10.0
"""A node that is attached and says nothing for so long hangs."""
_SILENT = NodeStatus.SILENT


class LogRelay:
    """Reads units' logs through the nodes that are attached to this server."""

    def __init__(self, host: Host, store: Store, attachments: Attachments) -> None:
        self._clock = host.clock
        self._store = store
        self._attachments = attachments

    async def read(self, request: LogsRequest) -> AsyncGenerator[LogsResponse, None]:
        """Yields the node's answer, until it has ended or the caller closes the iterator.

        Raises NotFoundError (no such unit), FailedPreconditionError (bound to no node), UnavailableError (the node is
        not attached, or goes away), ResourceExhaustedError, DeadlineExceededError, and the error with which the node
        ends.
        """
        node = await self._node_of(ObjectKey.from_proto(request.key))
        attachment = self._attachments.find(node)
        if attachment is None:
            raise UnavailableError(await self._why_absent(node), node=node)
        async with self._attachments.ask_logs(attachment, request) as answer:
            part = await self._first(answer, node)
            while part.WhichOneof("part") == "logs":
                yield part.logs
                part = await answer.take()
            if (error := ending_of(part)) is not None:
                raise error

    async def _first(self, answer: Answer, node: str) -> NodeReply:
        try:
            async with self._clock.timeout(FIRST_ANSWER_S_MAX):
                return await answer.take()
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"node {node} is attached, but did not answer within {FIRST_ANSWER_S_MAX:g} s: its machine may be "
                "overloaded, or the connection to it was just lost; try again",
                node=node,
            ) from error

    async def _node_of(self, key: ObjectKey) -> str:
        BUILTIN.validate_object_key(key)
        if key.type != UNIT_TYPE:
            raise InvalidArgumentError(f"{key} has no log: only objects of type {UNIT_TYPE} have", field="key.type")
        obj = await self._get(key)
        if obj is None:
            raise NotFoundError(f"{key} does not exist", key=str(key))
        node = bound_node(obj.metadata)
        if not node:
            raise FailedPreconditionError(
                f"{key} is bound to no node yet, so it has printed nothing: 'ructl describe' says what it waits for",
                key=str(key),
            )
        return node

    async def _why_absent(self, node: str) -> str:
        """Returns why a node cannot be asked, and what to do."""
        obj = await self._get(node_key(node))
        if obj is None:
            return (
                f"node {node} does not exist: start a rubelet of that name, or bind the unit to another node "
                "('ructl move UNIT NODE --force')"
            )
        status = NodeStatus()
        obj.status.Unpack(status)
        left_ns = self._attachments.departed_ns(node)
        since = f"has not been attached to this apiserver since {self._ago(left_ns)}"
        if not left_ns:
            since = "has not been attached to this apiserver since that was started"
        if status.readiness == _SILENT:
            silent = self._ago(silent_since(status).ToNanoseconds())
            return f"node {node} is silent since {silent}: look at its machine, or ask its rubelet with --node-socket"
        return (
            f"node {node} {since}: start its rubelet; if it runs, ask an apiserver that it was given (--server), or "
            "try again"
        )

    async def _get(self, key: ObjectKey) -> Object | None:
        (record,), _, _ = await self._store.get((key.to_bytes(),), min_revision=0)
        return None if record is None else decode(record)

    def _ago(self, then_ns: int) -> str:
        when = datetime.fromtimestamp(then_ns // NS_PER_S, UTC)
        ago_s = max(0, self._clock.now_ns() - then_ns) // NS_PER_S
        return f"{when:%Y-%m-%dT%H:%M:%SZ} ({ago_s} s ago)"
