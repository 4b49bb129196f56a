"""The logs of the things on this node, for the apiserver, and for users at the node's own socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from rube.api import LogsRequest, LogsResponse
from rube.api.errors import InvalidArgumentError, NotFoundError, ResourceExhaustedError
from rube.api.keys import ObjectKey
from rube.controllers.config import NodeController
from rube.controllers.ports import Cache

READERS_MAX = 32
"""Requests for logs that this node answers at the same time."""


class NodeLogs:
    """Reads logs through the driver of the key's type, of objects that are bound to this node and of no others."""

    def __init__(self, cache: Cache, controllers: Mapping[str, NodeController], node: str) -> None:
        """`controllers` are the controllers by type."""
        self._cache = cache
        self._controllers = controllers
        self._node = node
        self._readers = 0

    async def read(self, request: LogsRequest) -> AsyncGenerator[LogsResponse, None]:
        """Yields the answer, whose first response comes at once. Ends when the object is no longer this node's.

        Raises InvalidArgumentError, NotFoundError (not bound to this node), ResourceExhaustedError, and the driver's
        errors.
        """
        key = ObjectKey.from_proto(request.key)
        node_controller = self._controllers.get(key.type)
        if node_controller is None:
            types = " or ".join(sorted(self._controllers))
            raise InvalidArgumentError(f"{key} has no log: only objects of type {types} have", field="key.type")
        uid = self._uid(key)
        if not uid:
            raise NotFoundError(f"{key} is not bound to node {self._node}", key=str(key), node=self._node)
        if self._readers >= READERS_MAX:
            raise ResourceExhaustedError(
                f"node {self._node} answers {READERS_MAX} requests for logs already: end one", limit=READERS_MAX
            )
        self._readers += 1
        try:
            async with aclosing(self._while_bound(node_controller, key, uid, request)) as responses:
                async for response in responses:
                    response.node = self._node
                    yield response
        finally:
            self._readers -= 1

    def _uid(self, key: ObjectKey) -> str:
        obj = self._cache.get(key)
        return "" if obj is None else obj.metadata.uid

    async def _while_bound(
        self, node_controller: NodeController, key: ObjectKey, uid: str, request: LogsRequest
    ) -> AsyncGenerator[LogsResponse, None]:
        gone = asyncio.Event()

        def look(_: object) -> None:
            if self._uid(key) != uid:
                gone.set()

        self._cache.subscribe(look)
        leaving = asyncio.ensure_future(gone.wait())
        logs = node_controller.driver.logs(node_controller.controller.thing_of(key), request)
        coming: asyncio.Future[LogsResponse | None] | None = None
        try:
            while True:
                coming = asyncio.ensure_future(_next(logs))
                await asyncio.wait((coming, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    raise NotFoundError(f"{key} is no longer bound to node {self._node}", key=str(key), node=self._node)
                response = coming.result()
                if response is None:
                    return
                yield response
        finally:
            self._cache.unsubscribe(look)
            for task in (leaving, coming):
                if task is not None:
                    task.cancel()
            await asyncio.gather(leaving, *([coming] if coming is not None else []), return_exceptions=True)
            await cast(Any, logs).aclose()


async def _next(logs: AsyncIterator[LogsResponse]) -> LogsResponse | None:
    return await anext(logs, None)
