"""etcd's log: the changes under a prefix, revision by revision, as etcd's watch delivers them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from grpc import StatusCode, aio

from rube.api.errors import CompactedError, DataLossError, RevisionAheadError, UnavailableError
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.client import EtcdClient
from rube.store.etcd.endpoints import Endpoint, WatchStream
from rube.store.etcd.kv_pb2 import Event
from rube.store.etcd.layout import Layout
from rube.store.etcd.values import to_record
from rube.store.ports import Change, Record
from rube.store.urls import StoreUrl

CREATED_TIMEOUT_S = 5.0


class Revision(NamedTuple):
    """All changes of one revision in a store. Without changes only the store's metadata changed, or another store below
    its prefix."""

    revision: int
    changes: list[Change]
    descriptor_changed: bool
    """True if the store's descriptor has changed."""
    damaged: tuple[tuple[bytes, DataLossError], ...] = ()
    """Damage in place of a change: the key, and the error of its value, before or after, that does not match its
    checksum."""

    def within(self, start: bytes, end: bytes) -> list[Change]:
        """Returns the changes of start <= key < end. Raises DataLossError if one of those is damaged."""
        for key, error in self.damaged:
            if start <= key < end:
                raise DataLossError(error.message, **error.metadata)
        return [change for change in self.changes if start <= change.record.key < end]


class LogReader:
    """A reader of the log from a revision on: in order, without gaps, each revision whole; it waits at the log's end.

    It has one stream to one member, whose flow control is the backpressure. It holds at most one message of etcd's and
    one revision.
    """

    def __init__(
        self,
        client: EtcdClient,
        layout: Layout,
        member: Endpoint,
        stream: WatchStream,
    ) -> None:
        self._client = client
        self._layout = layout
        self._member = member
        self._stream = stream
        # Events of a revision that is not complete yet.
        self._begun: list[Event] = []

    @classmethod
    async def open(cls, client: EtcdClient, layout: Layout, after_revision: int) -> LogReader:
        """Returns a reader of everything after that revision.

        Raises UnavailableError if no member takes it, FailedPreconditionError if the user may not read it.
        CompactedError comes with the first `read`.
        """
        if client.url.user:
            # A stream does not say that its token is too old: a call does, and renews the token.
            await _check_readable(client, layout)
        member, stream = await client.stream()
        reader = cls(client, layout, member, stream)
        member.streams[stream] = None
        try:
            await reader._create(after_revision + 1)
        except BaseException:
            reader.close()
            raise
        return reader

    async def _create(self, start_revision: int) -> None:
        create = rpc.WatchCreateRequest(
            key=self._layout.start,
            range_end=self._layout.end,
            start_revision=start_revision,
            prev_kv=True,
            fragment=True,
        )
        try:
            async with self._client.clock.timeout(CREATED_TIMEOUT_S):
                await self._write(rpc.WatchRequest(create_request=create))
                answer = await self._read()
        except TimeoutError:
            self._client.leave(self._member)
            raise UnavailableError(f"etcd at {self._member.target} does not answer a watch") from None
        if answer.canceled:
            raise await self._cancelled(answer)

    async def read(self) -> Sequence[Revision]:
        """Returns the next revisions, at least one.

        Raises CompactedError (metadata `oldest_revision`) if they are compacted, or lack the values before them;
        UnavailableError if the stream has ended: go on with another reader after the last revision read.
        """
        while True:
            answer = await self._read()
            if answer.canceled:
                raise await self._cancelled(answer)
            self._begun.extend(answer.events)
            whole = self._begun
            if answer.fragment:
                last = self._begun[-1].kv.mod_revision
                begun = next(n for n, event in enumerate(self._begun) if event.kv.mod_revision == last)
                whole, self._begun = self._begun[:begun], self._begun[begun:]
            else:
                self._begun = []
            if whole:
                return self._revisions(whole)

    def close(self) -> None:
        self._member.streams.pop(self._stream, None)
        self._stream.cancel()

    def _revisions(self, events: Sequence[Event]) -> list[Revision]:
        found: list[Revision] = []
        for event in events:
            revision = event.kv.mod_revision
            if not found or found[-1].revision != revision:
                found.append(Revision(revision, [], False))
            key = self._layout.record_key(event.kv.key)
            if key is not None:
                try:
                    found[-1].changes.append(_change(key, event, self._client.url))
                except DataLossError as error:
                    # Only watches of this key fail: the others go on.
                    found[-1] = found[-1]._replace(damaged=(*found[-1].damaged, (key, error)))
            elif event.kv.key == self._layout.descriptor_key:
                found[-1] = found[-1]._replace(descriptor_changed=True)
        return found

    async def _write(self, request: rpc.WatchRequest) -> None:
        try:
            await self._stream.write(request)
        except asyncio.InvalidStateError as error:  # the stream has ended meanwhile
            raise UnavailableError(f"etcd at {self._member.target} ended the watch") from error
        except aio.AioRpcError as error:
            raise self._lost(error) from error

    async def _read(self) -> rpc.WatchResponse:
        try:
            answer = await self._stream.read()
        except aio.AioRpcError as error:
            raise self._lost(error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise UnavailableError(f"the watch on etcd at {self._member.target} was given up") from None
        if not isinstance(answer, rpc.WatchResponse):  # the end of the stream
            self._client.leave(self._member)
            raise UnavailableError(f"etcd at {self._member.target} ended the watch")
        return answer

    def _lost(self, error: aio.AioRpcError) -> Exception:
        if error.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED):
            self._client.leave(self._member)
        return self._client.meaning_of(error)

    async def _cancelled(self, answer: rpc.WatchResponse) -> Exception:
        if answer.compact_revision:
            return compacted(answer.compact_revision)
        if answer.cancel_reason.endswith("required revision is a future revision"):
            return RevisionAheadError(answer.cancel_reason, revision=answer.header.revision)
        return self._client.refusal(answer.cancel_reason)


def compacted(oldest_revision: int) -> CompactedError:
    return CompactedError(
        f"the revision is compacted; the oldest is {oldest_revision}: list again", oldest_revision=oldest_revision
    )


async def _check_readable(client: EtcdClient, layout: Layout) -> None:
    request = rpc.RangeRequest(key=layout.descriptor_key, count_only=True)
    try:
        await client.call(lambda member: member.kv.Range, request)
    except aio.AioRpcError as error:
        raise client.meaning_of(error) from error


def _change(key: bytes, event: Event, url: StoreUrl) -> Change:
    """Returns the change. Raises CompactedError if the value before it is compacted: etcd still sends such events of
    the revision compacted at.

    Raises DataLossError if a value does not match its checksum.
    """
    kv = event.kv
    if event.type == Event.DELETE:
        if not event.HasField("prev_kv"):
            raise compacted(kv.mod_revision)
        return Change(Record(key, b"", 0, kv.mod_revision), True, to_record(key, event.prev_kv, url))
    if event.HasField("prev_kv"):
        return Change(to_record(key, kv, url), False, to_record(key, event.prev_kv, url))
    if kv.version != 1:
        raise compacted(kv.mod_revision)
    return Change(to_record(key, kv, url), False, None)
