"""etcd's watch service on a member.

A watch is *behind* from its creation with an old start revision until the member has served it, which it does every 100
ms; then, or if it began with future revisions, it gets each revision as it is applied. A member's answers to control
requests do not wait for events, as in etcd 3.4.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import groupby

from grpc.aio import UsageError

from rube.api.times import NS_PER_S
from rube.sim.etcd import errors
from rube.sim.etcd.errors import EtcdError
from rube.sim.etcd.keyspace import FROM_KEY, Version
from rube.sim.etcd.kv import Context, RequestChecks, metadata_of
from rube.sim.etcd.member import Member
from rube.sim.etcd.requests import MESSAGE_BYTES_MAX
from rube.store.etcd.kv_pb2 import Event
from rube.store.etcd.rpc_pb2 import WatchCreateRequest, WatchRequest, WatchResponse
from rube.store.etcd.rpc_pb2_grpc import WatchServicer

BATCH_REVISIONS_MAX = 1000
"""A watch that is behind gets so many revisions in one message."""
LEADERLESS_TIMEOUTS_MAX = 3
"""A stream whose client needs a leader ends after so many election timeouts without one."""
CONTROL_MAX = 1024
"""So many answers to control requests wait to be sent; a stream takes no request while there are more."""


class Watcher:
    """One watch of a stream."""

    def __init__(self, number: int, request: WatchCreateRequest, next_revision: int) -> None:
        self.number = number
        self.next_revision = next_revision
        """The oldest that it has not yet been told."""
        self.behind = False
        self._key = request.key or FROM_KEY
        self._end = request.range_end if request.key else b""
        self._request = request

    def matching(self, versions: Sequence[Version]) -> list[Version]:
        """Returns the versions for this watch, if they are not too old."""
        return [version for version in versions if self._covers(version.kv.key) and not self._filtered(version)]

    def messages(self, member: Member, versions: Sequence[Version], revision: int) -> Iterator[WatchResponse]:
        """Yields the messages about the versions."""
        response = WatchResponse(header=member.header(revision), watch_id=self.number)
        for version in versions:
            event = Event(type=Event.DELETE if version.deleted else Event.PUT, kv=version.kv)
            if self._request.prev_kv and (previous := member.keyspace.previous(version)) is not None:
                event.prev_kv.CopyFrom(previous)
            response.events.append(event)
        return _fragments(response) if self._request.fragment else iter([response])

    def _covers(self, key: bytes) -> bool:
        if not self._end:
            return key == self._key
        return self._key <= key and (self._end == FROM_KEY or key < self._end)

    def _filtered(self, version: Version) -> bool:
        return (WatchCreateRequest.NODELETE if version.deleted else WatchCreateRequest.NOPUT) in self._request.filters


class Stream:
    """One call of Watch: any number of watches."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._watchers: dict[int, Watcher] = {}
        self._keyspace = member.keyspace
        self._next_number = 0
        # Answers to control requests: they go before any event.
        self._control: deque[WatchResponse] = deque()
        self._room = asyncio.Event()
        # Progress was asked for, and the revision that it will report is not yet sent.
        self._progress_due = False
        # When watches that are behind are served next; None: no watch is.
        self.sync_at_ns: int | None = None
        self.wake = asyncio.Event()

    async def room(self) -> None:
        """Returns once there is room for the answer to another request."""
        while len(self._control) >= CONTROL_MAX:
            self._room.clear()
            await self._room.wait()

    def take(self, request: WatchRequest) -> None:
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            if self._member.config.quirks.progress_overtakes:
                self._control.append(self._progress())
            else:
                self._progress_due = True
        self.wake.set()

    def due(self) -> Iterator[WatchResponse]:
        """Yields the messages to send now."""
        if self._keyspace is not self._member.keyspace:
            self._begin_anew()
        sync = self.sync_at_ns is not None and self._member.clock.monotonic_ns() >= self.sync_at_ns
        if sync:
            self.sync_at_ns = None
        while self._control:
            self._room.set()
            yield self._control.popleft()
        for watcher in list(self._watchers.values()):
            if watcher.behind and sync:
                yield from self._catch_up(watcher)
            elif not watcher.behind:
                yield from self._follow(watcher)
        if self._progress_due and not any(watcher.behind for watcher in self._watchers.values()):
            self._progress_due = False
            yield self._progress()

    def _create(self, request: WatchCreateRequest) -> None:
        revision = self._member.keyspace.revision
        number, trouble = -1, ""
        if request.range_end and request.range_end != FROM_KEY and request.key >= request.range_end:
            trouble = "mvcc: watcher range is empty"
        elif (number := self._number(request.watch_id)) < 0:
            trouble = "mvcc: duplicate watch ID provided on the WatchStream"
        created = WatchResponse(header=self._member.header(), watch_id=number, created=True)
        self._control.append(created)
        if trouble:
            created.canceled, created.cancel_reason = True, trouble
            return
        watcher = Watcher(number, request, request.start_revision or revision + 1)
        self._watchers[number] = watcher
        if watcher.next_revision <= revision:
            self._fall_behind(watcher)

    def _begin_anew(self) -> None:
        """A snapshot has replaced the keyspace: every watch is looked after like a new one."""
        self._keyspace = self._member.keyspace
        for watcher in self._watchers.values():
            self._fall_behind(watcher)

    def _fall_behind(self, watcher: Watcher) -> None:
        watcher.behind = True
        if self.sync_at_ns is None:
            interval_ns = round(self._member.config.sync_interval_s * NS_PER_S)
            self.sync_at_ns = self._member.clock.monotonic_ns() + interval_ns

    def _number(self, wanted: int) -> int:
        """The new watch's; -1 if the client asks for one that it has."""
        if wanted:
            return -1 if wanted in self._watchers else wanted
        while self._next_number in self._watchers:
            self._next_number += 1
        self._next_number += 1
        return self._next_number - 1

    def _cancel(self, number: int) -> None:
        if self._watchers.pop(number, None) is not None:
            self._control.append(WatchResponse(header=self._member.header(), watch_id=number, canceled=True))

    def _progress(self) -> WatchResponse:
        """Returns a progress message for no single watch: it is for all of the stream."""
        return WatchResponse(header=self._member.header(), watch_id=-1)

    def _catch_up(self, watcher: Watcher) -> Iterator[WatchResponse]:
        keyspace = self._member.keyspace
        if watcher.next_revision < keyspace.compact_revision:
            del self._watchers[watcher.number]
            yield WatchResponse(
                header=self._member.header(0),
                watch_id=watcher.number,
                canceled=True,
                compact_revision=keyspace.compact_revision,
            )
            return
        revision = keyspace.revision
        found = watcher.matching(keyspace.versions_from(watcher.next_revision))
        watcher.behind, watcher.next_revision = False, revision + 1
        for batch in _batches(found):
            yield from watcher.messages(self._member, batch, revision)

    def _follow(self, watcher: Watcher) -> Iterator[WatchResponse]:
        keyspace = self._member.keyspace
        if watcher.next_revision > keyspace.revision:
            return
        if watcher.next_revision < keyspace.compact_revision:
            self._fall_behind(watcher)  # its client reads too slowly: it is looked after like a new one
            return
        found = watcher.matching(keyspace.versions_from(watcher.next_revision))
        watcher.next_revision = keyspace.revision + 1
        for revision, versions in groupby(found, key=lambda version: version.kv.mod_revision):
            yield from watcher.messages(self._member, list(versions), revision)


class Watch(WatchServicer):
    """etcd's watch service."""

    def __init__(self, member: Member, gate: RequestChecks) -> None:
        self._member = member
        self._gate = gate

    async def Watch(  # type: ignore[override]  # a handler may write its answers itself
        self, request_iterator: AsyncIterator[WatchRequest], context: Context
    ) -> None:
        async with self._gate.enter(context):
            stream = Stream(self._member)
            try:
                async with asyncio.TaskGroup() as group:
                    sending = group.create_task(self._send(stream, context))
                    if metadata_of(context, "hasleader") == "true":
                        group.create_task(self._end_without_leader())
                    async for request in request_iterator:
                        await stream.room()
                        stream.take(request)
                    sending.cancel()
                    raise _Done
            except* _Done:
                pass
            except* UsageError:
                pass  # the client is gone
            except* EtcdError as failures:
                raise failures.exceptions[0] from None

    async def _send(self, stream: Stream, context: Context) -> None:
        clock = self._member.clock
        applied = asyncio.create_task(self._wake(stream))
        try:
            while True:
                for response in stream.due():
                    await context.write(response)
                wait_ns = None if stream.sync_at_ns is None else max(stream.sync_at_ns - clock.monotonic_ns(), 0)
                try:
                    async with clock.timeout(None if wait_ns is None else wait_ns / NS_PER_S):
                        await stream.wake.wait()
                    stream.wake.clear()
                except TimeoutError:
                    pass  # those that are behind are due
        finally:
            applied.cancel()

    async def _wake(self, stream: Stream) -> None:
        while True:
            await self._member.changed()
            stream.wake.set()

    async def _end_without_leader(self) -> None:
        member = self._member
        timeout_s = member.config.timing.election_timeout_s
        while member.leaderless_s < LEADERLESS_TIMEOUTS_MAX * timeout_s:
            await member.clock.sleep(timeout_s)
        raise errors.no_leader()


class _Done(Exception):
    """The client sends no more requests."""


def _batches(versions: list[Version]) -> Iterator[list[Version]]:
    """Some revisions at a time, never a part of one."""
    batch: list[Version] = []
    revisions = 0
    for _, group in groupby(versions, key=lambda version: version.kv.mod_revision):
        if revisions == BATCH_REVISIONS_MAX:
            yield batch
            batch, revisions = [], 0
        batch.extend(group)
        revisions += 1
    if batch:
        yield batch


def _fragments(response: WatchResponse) -> Iterator[WatchResponse]:
    """The message in parts that gRPC takes; a part has at least one event."""
    if response.ByteSize() < MESSAGE_BYTES_MAX or len(response.events) < 2:
        yield response
        return
    events = deque(response.events)
    while events:
        part = WatchResponse(header=response.header, watch_id=response.watch_id)
        size = part.ByteSize()
        while events and (not part.events or size + _size_in_message(events[0]) < MESSAGE_BYTES_MAX):
            size += _size_in_message(events[0])
            part.events.append(events.popleft())
        part.fragment = bool(events)
        yield part


def _size_in_message(event: Event) -> int:
    """Returns about the event's size with its tag and length."""
    return event.ByteSize() + 5
