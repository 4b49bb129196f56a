"""Reports events to the apiserver, beside the calls and behind them: what happens here holds up nothing else."""

from __future__ import annotations

import asyncio
import logging

from rube.api import CoreEvent, GetRequest, PutRequest
from rube.api.errors import (
    AbortedError,
    DataLossError,
    DeadlineExceededError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.api.keys import ObjectKey
from rube.client import WorkQueue
from rube.controllers.backoff import KeyedBackoff
from rube.controllers.config import QUEUE, RuntimeConfig
from rube.controllers.events import counted, key_of_event, object_of
from rube.controllers.outbox import Outbox
from rube.controllers.workers import Workers

_LOG = logging.getLogger("rube.controllers")
RACES_MAX = 3
"""Other reporters of the same event, one after the other; past it the event is lost."""


class EventSender:
    """The events of one controller's outbox, in order per key. One that the server refuses is lost."""

    def __init__(self, config: RuntimeConfig, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox
        self._name = config.decider.name
        self._clock = config.host.clock
        self._queue: WorkQueue[ObjectKey] = WorkQueue(self._clock, QUEUE)
        self._backoff = KeyedBackoff(config.backoff, config.host.random.stream(f"controller/{self._name}/events"))
        self._workers = Workers(
            self._queue, self._work, workers_max=config.event_senders_max, held_max=config.event_senders_max
        )
        self._was_connected = False

    def start(self, group: asyncio.TaskGroup) -> None:
        self._workers.start(group)

    def offer(self, key: ObjectKey) -> None:
        """Sends that key's events, if it has any and the server is there."""
        if self._config.cache.connected and self._outbox.next_event(key) is not None:
            self._queue.add(key)

    def cache_moved(self) -> None:
        """Sends everything that waited, once the server is back."""
        connected = self._config.cache.connected
        if connected and not self._was_connected:
            for key in self._outbox.known():
                self._backoff.forget(key)
                self.offer(key)
        self._was_connected = connected

    async def _work(self, key: ObjectKey) -> None:
        while (event := self._outbox.next_event(key)) is not None:
            if not self._config.cache.connected or not self._config.may_act():
                return
            try:
                async with self._clock.timeout(self._config.call_s_max):
                    await self._report(event)
            except (UnavailableError, DeadlineExceededError, ResourceExhaustedError, TimeoutError) as error:
                _LOG.debug("%s: an event of %s waits: %s", self._name, key, error)
                self._queue.add_after(key, self._backoff.next_s(key))
                return
            except RubeError as error:
                _LOG.info("%s: an event of %s is lost (%s): %s", self._name, key, event.reason, error)
            self._backoff.forget(key)
            if not await self._done(key, event):
                return

    async def _done(self, key: ObjectKey, event: CoreEvent) -> bool:
        try:
            await self._outbox.event_done(key, event.report)
        except DataLossError:
            raise
        except RubeError as error:  # the local store's, such as a full disk
            _LOG.error("%s: cannot note which events of %s were sent: %s", self._name, key, error)
            self._queue.add_after(key, self._backoff.next_s(key))
            return False
        return True

    async def _report(self, event: CoreEvent) -> None:
        """Puts a new event, or counts it. Raises AbortedError after RACES_MAX lost races, and for a former leader."""
        calls, key = self._config.calls, key_of_event(event).to_proto()
        request = PutRequest(objects=[object_of(event)], owner=self._name)
        request.preconditions.add(key=key, absent=True)
        if self._config.fence is not None:
            request.fence.CopyFrom(self._config.fence)
        for races in range(RACES_MAX + 1):
            try:
                await calls.put(request)
                return
            except AbortedError as error:
                if races == RACES_MAX or "fence" in error.metadata:
                    raise
            try:
                stored = (await calls.get(GetRequest(key=key))).object
            except NotFoundError:  # it has expired since
                wanted, revision = object_of(event), 0
            else:
                again = counted(stored, event)
                if again is None:
                    return
                wanted, revision = again, stored.metadata.revision
            request.objects[0].CopyFrom(wanted)
            request.preconditions[0].absent, request.preconditions[0].revision = not revision, revision
