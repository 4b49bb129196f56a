"""The apiservers behind a relay: their newest revision, asked for when it is needed, and a copy of all objects, kept up
by one watch."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import NamedTuple

from rube.api import Event, Freshness, ListRequest, ListResponse, Object, WatchRequest
from rube.api.errors import (
    CompactedError,
    PermissionDeniedError,
    RevisionAheadError,
    RubeError,
    StoreChangedError,
    UnavailableError,
)
from rube.api.keys import key_of
from rube.api.well_known import EVERY_TYPE, LEASE_TYPE, NODE_LEASE_NAMESPACE
from rube.client import Client, ClientConfig, FailureLog
from rube.host import Host
from rube.host.backoff import Backoff
from rube.server.relay.config import RelayConfig
from rube.store import Record
from rube.store.embedded.replica import ReplicaStore, Written

_LOG = logging.getLogger("rube.relay")
# A list that reads one key, which nothing has: its answer has the newest revision, as every consistent read's.
_QUESTION = ListRequest(type=LEASE_TYPE, namespace=NODE_LEASE_NAMESPACE, name="0-none", page_size=1)
_RETRIES_MAX = 2
# Answers that the copy has not caught up with: so many are remembered.
_UNMET_MAX = 64


class Newest(NamedTuple):
    """Upstream's answer about itself, of a time after it was asked."""

    revision: int
    store_id: str


class Upstream:
    """Asks, and keeps `replica` up, while `run` runs. `changed` is awaited with each copy, and with None at its end."""

    def __init__(
        self, host: Host, config: RelayConfig, changed: Callable[[ReplicaStore | None], Awaitable[None]]
    ) -> None:
        self._clock = host.clock
        self._config = config
        self._changed = changed
        limits = ClientConfig(deadline_s=config.ask_s_max, attempt_s_max=config.attempt_s_max, retries_max=_RETRIES_MAX)
        self._client = Client(host, config.upstream, limits)
        self._backoff = Backoff(
            host.random.stream("relay"), initial_s=config.backoff_s_initial, max_s=config.backoff_s_max
        )
        self._failures = FailureLog(_LOG, f"watch of {', '.join(config.upstream)}")
        self.replica: ReplicaStore | None = None
        self.away = False
        """The last question was not answered."""
        # The next question's answer, for those who wait for it; and what is set when there are any.
        self._answer: asyncio.Future[Newest] | None = None
        self._wanted = asyncio.Event()
        # Answers that are newer than the copy, oldest first, each with the time of its question.
        self._unmet: deque[tuple[Newest, int]] = deque(maxlen=_UNMET_MAX)
        self._fresh_ns = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask())
            group.create_task(self._keep_up())

    async def close(self) -> None:
        """Ends what `run` has left, after it."""
        if self.replica is not None:
            await self.replica.close()
        await self._client.close()

    def freshness(self) -> Freshness:
        """Returns the age of the copy: everything that was committed so long ago is in it."""
        found = Freshness(upstream_away=self.away)
        found.age.FromNanoseconds(max(0, self._clock.monotonic_ns() - self._fresh_ns))
        return found

    async def newest(self) -> Newest:
        """Returns upstream's newest revision, of a time after this call began. Callers at one time share a question.

        Raises UnavailableError.
        """
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
            self._answer.add_done_callback(_retrieve)
            self._wanted.set()
        return await asyncio.shield(self._answer)

    async def _ask(self) -> None:
        while True:
            try:
                async with self._clock.timeout(self._config.ask_interval_s):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            # Who asks from here on waits for the next question.
            answer, self._answer = self._answer, None
            self._wanted.clear()
            asked_ns = self._clock.monotonic_ns()
            try:
                said = await self._client.list_page(_QUESTION)
            except RubeError as error:
                self.away = True
                if answer is not None:
                    answer.set_exception(self._no_answer(error))
                continue
            self.away = False
            newest = Newest(said.revision, said.store_id)
            self._unmet.append((newest, asked_ns))
            self._note_freshness()
            if answer is not None:
                answer.set_result(newest)

    def _no_answer(self, error: RubeError) -> UnavailableError:
        has = "and has no copy yet" if self.replica is None else "its copy can be asked for (--stale, min_revision: 1)"
        return UnavailableError(f"this relay cannot ask the apiservers what is newest ({error.message}); {has}")

    def _note_freshness(self) -> None:
        replica = self.replica
        while replica is not None and self._unmet and self._unmet[0][0].revision <= replica.revision:
            newest, asked_ns = self._unmet.popleft()
            if newest.store_id == replica.store_id:
                self._fresh_ns = max(self._fresh_ns, asked_ns)

    async def _keep_up(self) -> None:
        while True:
            try:
                replica = self.replica or await self._copy()
                await self._follow(replica)
            except (CompactedError, StoreChangedError, RevisionAheadError, PermissionDeniedError) as error:
                self._failures.failed(error.message, then="copying all objects again")
                await self._drop()
            except RubeError as error:
                self._failures.failed(error.message)
            await self._clock.sleep(self._backoff.next_s())

    async def _drop(self) -> None:
        replica, self.replica = self.replica, None
        self._unmet.clear()
        if replica is not None:
            await self._changed(None)
            await replica.close()

    async def _copy(self) -> ReplicaStore:
        """Makes a copy of all objects, as they were some revisions ago if upstream still has that."""
        asked_ns = self._clock.monotonic_ns()
        newest = await self.newest()
        back = newest.revision - self._config.lookback_revisions
        try:
            listed = await self._list(max(1, back) if newest.revision else 0)
        except CompactedError as error:
            try:
                listed = await self._list(int(error.metadata["oldest_revision"]))
            except CompactedError:
                listed = await self._list(0)
        records = (_record(obj) for obj in listed.items)
        replica = await ReplicaStore.open(
            self._clock, store_id=listed.store_id, revision=listed.revision, records=records
        )
        self._fresh_ns = 0
        self._unmet.appendleft((newest, asked_ns))
        self.replica = replica
        self._note_freshness()
        await self._changed(replica)
        _LOG.info("copied store %s as of revision %d", replica.store_id, replica.revision)
        return replica

    async def _list(self, revision: int) -> ListResponse:
        request = ListRequest(type=EVERY_TYPE, revision=revision)
        return await self._client.list_objects(request, deadline_s=self._config.copy_s_max)

    async def _follow(self, replica: ReplicaStore) -> None:
        """Runs one watch to its end, which is an error."""
        request = WatchRequest(type=EVERY_TYPE, after_revision=replica.revision, store_id=replica.store_id)
        # No watch resumes from a store without revisions, which this one may be no more.
        request.send_initial = not replica.revision
        initial: list[Written] = []
        async with aclosing(self._client.watch(request)) as responses:
            async for response in responses:
                writes = list(_written(response.events))
                if not response.revision:
                    initial += writes
                    continue
                if initial:
                    writes, initial = sorted(initial + writes, key=lambda written: written.revision), []
                if writes and response.revision <= replica.revision:
                    why = "what this relay may see has changed with its rights"
                    raise CompactedError(why, oldest_revision=response.revision)
                await replica.apply(writes, response.revision)
                self._note_freshness()
                self._failures.works()
                self._backoff.reset()


def _written(events: Iterable[Event]) -> Iterator[Written]:
    for event in events:
        match event.WhichOneof("event"):
            case "update":
                record = _record(event.update)
                yield Written(record.key, record.value, record.create_revision, record.mod_revision)
            case "delete":
                yield Written(key_of(event.delete).to_bytes(), None, 0, event.delete.metadata.revision)


def _record(obj: Object) -> Record:
    """Returns the record that upstream's store has of an object, from what it has sent."""
    key, metadata = key_of(obj).to_bytes(), obj.metadata
    create_revision, revision = metadata.create_revision, metadata.revision
    metadata.ClearField("create_revision")
    metadata.ClearField("revision")
    return Record(key, obj.SerializeToString(deterministic=True), create_revision, revision)


def _retrieve(answer: asyncio.Future[Newest]) -> None:
    """Takes the error of an answer whose callers have gone."""
    if not answer.cancelled():
        answer.exception()
