"""Watches and logs that go on while the rights of their callers change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, TypeVar

from rube.api import LogsRequest, LogsResponse, WatchRequest, WatchResponse
from rube.api.errors import CompactedError, RubeError, UnavailableError
from rube.api.keys import ObjectKey
from rube.host import Clock
from rube.host.network import RESPONSE_BYTES_MAX
from rube.server.backend import Backend
from rube.server.encoding import delete_event, update_event, watch_response
from rube.server.entrance.call import Call, call_of
from rube.server.filters import ObjectFilter
from rube.server.rights.gate import Gate
from rube.server.rights.sight import Sight
from rube.server.rights.subjects import Context
from rube.server.scan import scan
from rube.server.stored_object import labels_of
from rube.server.watch import Watches
from rube.store import Record, Store
from rube.transport import Encoded

T = TypeVar("T")
_RETRY_S: Final = 1.0


class PolicyChangedError(Exception):
    """The caller may see something else from now on."""


class _Running:
    """The sight of a running call, and the wait that ends when that changes."""

    def __init__(self, gate: Gate, clock: Clock, wanted: ObjectFilter, verb: str, call: Call) -> None:
        self._gate = gate
        self._clock = clock
        self._wanted = wanted
        self._verb = verb
        self._call = call
        self._wait: asyncio.Timeout | None = None
        self.changed = False
        self.sight: Sight | None = None

    def look(self) -> None:
        """Takes the newest policy. Raises PermissionDeniedError, UnauthenticatedError."""
        self.changed = False
        self.sight = self._gate.sight(self._wanted, self._verb, self._call)

    def policy_changed(self) -> None:
        """Ends the wait, unless the caller could see everything that it asks for, and still can."""
        if self.sight is None and self._gate.sees_all(self._wanted, self._verb, self._call.identity.subject):
            return
        self.changed = True
        if self._wait is not None:
            self._wait.reschedule(asyncio.get_running_loop().time())

    async def next(self, items: AsyncIterator[T]) -> T:
        """Returns the next item. Raises PolicyChangedError."""
        if self.changed:
            raise PolicyChangedError
        self._wait = self._clock.timeout(None)
        try:
            async with self._wait:
                return await anext(items)
        except TimeoutError:
            if not self._wait.expired():
                raise
            raise PolicyChangedError from None
        finally:
            self._wait = None


async def watch(
    gate: Gate, backend: Backend, watches: Watches, request: WatchRequest, context: Context
) -> AsyncGenerator[Encoded, None]:
    """Yields the responses of a watch. When the caller's rights change, an object that it may not see any more is a
    delete, and one that it may see now an update, at the revision that it has reached. Without any right left it ends
    with PermissionDeniedError."""
    call = call_of(context)
    subject = call.identity.subject
    wanted = ObjectFilter.of(request, await backend.types.require((request.type,)))
    running = _Running(gate, backend.host.clock, wanted, "watch", call)
    running.look()
    gate.check_resume(request, subject, running.sight)
    async with gate.kept.told(running.policy_changed):
        while True:
            last: Encoded | None = None
            async with aclosing(watches.watch(request, running.sight)) as responses:
                try:
                    while True:
                        last = await running.next(responses)
                        yield last
                except PolicyChangedError:
                    pass
            before = running.sight
            running.look()
            resumed_from = 0 if request.send_initial else request.after_revision
            if last is None and not resumed_from:
                continue  # nothing was said yet
            revision = resumed_from if last is None else WatchResponse.FromString(last.data).revision
            if not revision:
                raise UnavailableError(
                    f"the rights of {subject} changed while the objects that exist were sent: begin the watch again"
                )
            yield await _difference(backend.store, wanted, before, running.sight, revision)
            request = WatchRequest(
                type=request.type,
                namespace=request.namespace,
                name=request.name,
                label_selector=request.label_selector,
                after_revision=revision,
                store_id=backend.store.store_id,
            )


async def logs(
    gate: Gate, backend: Backend, responses: AsyncGenerator[LogsResponse, None], request: LogsRequest, context: Context
) -> AsyncGenerator[LogsResponse, None]:
    """Yields a unit's output, until the caller may not read it any more, by its rights or by the unit's labels:
    PermissionDeniedError, also while the unit is silent."""
    changed = asyncio.Event()
    async with gate.kept.told(changed.set), aclosing(responses):
        follower: asyncio.Task[None] | None = None
        if await gate.check_logs(backend, request, context):
            key = ObjectKey.from_proto(request.key).to_bytes()
            following = _tell_changes(backend, key, backend.store.revision, changed.set)
            follower = asyncio.create_task(following, name="labels of a log")
        step: asyncio.Future[LogsResponse | None] | None = None
        try:
            while True:
                step = asyncio.ensure_future(anext(responses, None))
                while not step.done() or changed.is_set():
                    if changed.is_set():
                        changed.clear()
                        await gate.check_logs(backend, request, context)
                    else:
                        await _either(step, changed)
                response = step.result()
                if response is None:
                    return
                yield response
        finally:
            ending = [each for each in (step, follower) if each is not None]
            for each in ending:
                each.cancel()
            await asyncio.gather(*ending, return_exceptions=True)


async def _either(step: asyncio.Future[T], changed: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(changed.wait())
    try:
        await asyncio.wait((step, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _tell_changes(backend: Backend, key: bytes, revision: int, tell: Callable[[], None]) -> None:
    """Calls `tell` after each change of an object until cancelled; whatever fails, it calls it, too, and goes on."""
    while True:
        try:
            changes = backend.store.watch(key, key + b"\0", after_revision=revision)
            async with aclosing(changes) as batches:  # type: ignore[type-var]  # stores give async generators
                async for batch in batches:
                    revision = batch.revision
                    if batch.changes:
                        tell()
        except RubeError:
            revision = backend.store.revision
            tell()
        await backend.host.clock.sleep(_RETRY_S)


async def _difference(
    store: Store, wanted: ObjectFilter, before: Sight | None, after: Sight | None, revision: int
) -> Encoded:
    """Returns a response with what a caller ceases to see, and what it begins to see, of the store at a revision.

    One response: a watch that is resumed has all of a revision or none. Raises CompactedError where it is too large,
    so that the client lists again.
    """
    parts: list[bytes] = []
    size_bytes = 0
    async with aclosing(scan(store, wanted.start, wanted.end, revision=revision)) as pages:
        async for page in pages:
            for record in page.records:
                if not wanted.matches_key(record.key) or not wanted.matches(partial(labels_of, record)):
                    continue
                saw, sees = _sees(before, record), _sees(after, record)
                if saw != sees:
                    parts.append(update_event(record) if sees else delete_event(record, revision))
                    size_bytes += len(parts[-1])
                if size_bytes > RESPONSE_BYTES_MAX:
                    why = "too much has changed with the caller's rights: list again"
                    raise CompactedError(why, oldest_revision=revision)
    return Encoded(watch_response(b"".join(parts), revision, store.store_id))


def _sees(sight: Sight | None, record: Record) -> bool:
    return sight is None or sight.sees(record)
