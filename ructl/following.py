"""A watch over as many connections as it takes: the same for all commands that watch or wait."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import click

from rube.api import Object
from rube.api.errors import (
    CompactedError,
    DeadlineExceededError,
    NotFoundError,
    RevisionAheadError,
    StoreChangedError,
    UnavailableError,
)
from rube.api.keys import ObjectKey
from rube.client import Batch, CacheState, ObjectCache
from rube.console.streams import forget_stdout, stdout_is_pipe
from rube.host.backoff import Backoff
from ructl.connection import Connection, one_line
from ructl.ground import given_ground, randomness
from ructl.output import place
from ructl.query import Query

RETRY_DELAY_S_INITIAL = 0.1
RETRY_DELAY_S_MAX = 2.0


class Follower:
    """Follows the objects of a query's watch, and keeps a copy of them.

    The first connection has to succeed; later ones are waited for, and the watch goes on where it was. stderr says so.
    """

    def __init__(self, connection: Connection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self._cache = ObjectCache(CacheState())
        self._connected = False
        self._lost = False
        self._backoff = Backoff(randomness().stream("ructl"), initial_s=RETRY_DELAY_S_INITIAL, max_s=RETRY_DELAY_S_MAX)

    def objects(self) -> list[Object]:
        """Returns the matching objects, by key, as of the last batch."""
        copy = self._cache.objects
        return [copy[key] for key in sorted(copy) if self._query.matches(copy[key])]

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Each batch of changes once `objects` shows it, without end. Close it with `contextlib.aclosing`."""
        while True:
            try:
                async with aclosing(self._follow()) as batches:
                    async for batch in batches:
                        yield batch
            except (CompactedError, StoreChangedError, RevisionAheadError) as error:
                self._cache.lose_position()
                self._say(f"{one_line(error)}; listing again")
            except (UnavailableError, DeadlineExceededError):
                if not self._connected:
                    raise
                plan = f"resuming after revision {self._cache.revision}" if self._cache.resumable else "listing again"
                self._say(f"the connection to {self._connection.target} was lost; {plan}")
            self._lost = True
            await asyncio.sleep(self._backoff.next_s())

    async def _follow(self) -> AsyncGenerator[Batch, None]:
        """One watch, to its end, which is an error."""
        self._cache.begin()
        request = self._query.watch_request()
        if self._cache.resumable:
            request.after_revision, request.store_id = self._cache.revision, self._cache.store_id
        else:
            request.send_initial = True
        async with aclosing(self._connection.watch(request)) as responses:
            async for response in responses:
                if self._lost:
                    click.echo(f"ructl: connected to {self._connection.target} again", err=True)
                self._connected, self._lost = True, False
                self._backoff.reset()
                if batch := self._cache.prepare(response):
                    self._cache.commit(batch)
                    yield batch

    def _say(self, what: str) -> None:
        """Once for each time that the connection is lost."""
        if not self._lost:
            click.echo(f"ructl: {what}", err=True)


async def until_nothing_lacks(
    follower: Follower, lack: Callable[[list[Object]], str], within_s: float, unknown: str
) -> str:
    """Follows until `lack` finds nothing missing, and returns "".

    After `within_s` it returns the last lack, or `unknown` if no objects have come yet.
    """
    found = unknown
    try:
        async with asyncio.timeout(within_s):
            async with aclosing(follower.batches()) as batches:
                async for _ in batches:
                    found = lack(follower.objects())
                    if not found:
                        return ""
    except TimeoutError:
        pass
    return found


async def until_done(connection: Connection, key: ObjectKey, lack: Callable[[Object], str], within_s: float) -> str:
    """Waits like `until_nothing_lacks`, for one object. Raises NotFoundError if it is deleted meanwhile."""

    def lack_of_one(found: list[Object]) -> str:
        if not found:
            raise NotFoundError(f"{place(key)} was deleted meanwhile")
        return lack(found[0])

    follower = Follower(connection, Query(type=key.type, namespace=key.namespace, names=(key.name,)))
    return await until_nothing_lacks(follower, lack_of_one, within_s, f"{connection.target} has not told of it yet")


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Awaits `work` until a signal, or until the output's reader is gone."""
    if (ground := given_ground()) is not None:
        try:
            async with asyncio.timeout(ground.stop_after_s):
                await work
        except TimeoutError:
            return
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    if stdout_is_pipe():
        # A pipe that is written to becomes readable only when its reader is gone.
        loop.add_reader(sys.stdout.fileno(), task.cancel)
    try:
        await task
    except (asyncio.CancelledError, BrokenPipeError):
        forget_stdout()
