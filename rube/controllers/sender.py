"""Sends the calls that decisions asked for: in order per key, at least once, never while that key is being decided."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    Call,
    Decision,
    DeleteRequest,
    Key,
    PatchRequest,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    Written,
)
from rube.api.errors import (
    AbortedError,
    DataLossError,
    DeadlineExceededError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.api.keys import ObjectKey, key_of
from rube.client import FailureLog, WorkQueue
from rube.controllers.backoff import KeyedBackoff
from rube.controllers.config import QUEUE, Refused, RuntimeConfig
from rube.controllers.outbox import Outbox
from rube.controllers.workers import Workers

_LOG = logging.getLogger("rube.controllers")


class Sender:
    """The calls of one controller's outbox.

    A call that cannot be delivered stays and is sent again; on ABORTED the key's calls are dropped and it is decided
    again from the new state, and so it is, with a log line, if the server refuses the call permanently.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        outbox: Outbox,
        decide: WorkQueue[ObjectKey],
        deciding: AbstractSet[ObjectKey],
        done: Callable[[ObjectKey], None],
    ) -> None:
        """`decide` takes the keys to decide again; `deciding` are those that are being decided now; `done` is called
        after calls of a key were carried out."""
        self._config = config
        self._outbox = outbox
        self._decide = decide
        self._deciding = deciding
        self._done = done
        self._clock = config.host.clock
        self._queue: WorkQueue[ObjectKey] = WorkQueue(self._clock, QUEUE)
        stream = config.host.random.stream(f"controller/{config.decider.name}/calls")
        self._backoff = KeyedBackoff(config.backoff, stream)
        self._sending: set[ObjectKey] = set()
        self._deferred: set[ObjectKey] = set()
        self._workers = Workers(
            self._queue, self._work, workers_max=config.senders_max, held_max=config.senders_held_max
        )
        self._was_connected = False
        self._failures = FailureLog(_LOG, f"{config.decider.name}: calls")

    def start(self, group: asyncio.TaskGroup) -> None:
        self._workers.start(group)

    def prepare(self, decision: Decision) -> None:
        """Puts the fence of this term into a decision's calls, and the controller's name as the owner of what they
        write, unless they have another."""
        for call in decision.calls:
            request: (
                PutRequest | PatchRequest | ApplyRequest | DeleteRequest | UpdateStatusRequest | UpdateLifecycleRequest
            )
            request = getattr(call, str(call.WhichOneof("call")))
            if self._config.fence is not None:
                request.fence.CopyFrom(self._config.fence)
            if isinstance(request, (PutRequest, PatchRequest, ApplyRequest)) and not request.owner:
                request.owner = self._config.decider.name

    def defers(self, key: ObjectKey) -> bool:
        """Returns True while a call of that key is under way; the key is then decided once it has ended."""
        if key in self._sending:
            self._deferred.add(key)
            return True
        return False

    def offer(self, key: ObjectKey) -> None:
        """Sends that key's calls, if it has any and the server is there."""
        if self._config.cache.connected and self._outbox.has_calls(key):
            self._queue.add(key)

    def cache_moved(self) -> None:
        """Sends everything that waited, once the server is back."""
        connected = self._config.cache.connected
        if connected and not self._was_connected:
            for key in self._outbox.known():
                self._backoff.forget(key)
                self.offer(key)
        self._was_connected = connected

    def is_seen(self, written: Written) -> bool:
        """Returns whether the cache shows that write, or never can: its type is not kept, or its store is gone."""
        position = self._config.cache.position(written.key.type)
        if position is None or position.store_id != written.store_id or position.revision >= written.revision:
            return True
        obj = self._config.cache.get(ObjectKey.from_proto(written.key))
        return obj is not None and obj.metadata.revision >= written.revision

    async def _work(self, key: ObjectKey) -> None:
        # With the server away an attempt would only hold up the key's decisions; `cache_moved` offers it again.
        if key in self._deciding or not self._config.cache.connected or not self._config.may_act():
            return
        self._sending.add(key)
        try:
            await self._send_all(key)
        except DataLossError:
            raise
        except RubeError as error:  # the local store's, such as a full disk
            _LOG.error("%s: cannot note what was sent of %s: %s", self._config.decider.name, key, error)
            self._queue.add_after(key, self._backoff.next_s(key))
        finally:
            self._sending.discard(key)
            if key in self._deferred:
                self._deferred.discard(key)
                self._decide.add(key)

    async def _send_all(self, key: ObjectKey) -> None:
        while calls := self._outbox.get(key).left.calls:
            if not self._config.may_act():
                return
            try:
                written = await self._send(calls[0])
            except (UnavailableError, DeadlineExceededError, ResourceExhaustedError, TimeoutError) as error:
                delay_s = self._backoff.next_s(key)
                self._failures.failed(str(error) or "no answer in time", then=f"{key} and others wait")
                self._queue.add_after(key, delay_s)
                return
            except RubeError as error:
                await self._refused(key, error)
                return
            self._failures.works()
            self._backoff.forget(key)
            await self._outbox.call_done(key, written)
            self._done(key)

    async def _refused(self, key: ObjectKey, error: RubeError) -> None:
        delay_s = self._backoff.next_s(key)
        level = logging.INFO if isinstance(error, AbortedError) else logging.ERROR
        _LOG.log(level, "%s: a call of %s was refused, deciding again: %s", self._config.decider.name, key, error)
        self._config.refusals(Refused(controller=self._config.decider.name, key=key, error=error))
        await self._outbox.drop_calls(key)
        self._config.cache.assume(key, ())
        self._decide.add_after(key, delay_s)

    async def _send(self, call: Call) -> list[Written]:
        """Sends a call. A controller passes on what it read, and may know more or fewer fields than the apiserver."""
        calls = self._config.calls
        async with self._clock.timeout(self._config.call_s_max):
            match call.WhichOneof("call"):
                case "put":
                    call.put.keep_unknown_fields = True
                    return _written_objects(call.put, await calls.put(call.put))
                case "apply":
                    call.apply.keep_unknown_fields = True
                    return _written_objects(call.apply, await calls.apply(call.apply))
                case "patch":
                    call.patch.keep_unknown_fields = True
                    patched = await calls.patch(call.patch)
                    key = key_of(call.patch.object).to_proto()
                    return [_written(key, patched.object.metadata.revision, patched.store_id)]
                case "delete":
                    deleted = await calls.delete(call.delete)
                    return [_written(key, deleted.revision, deleted.store_id) for key in call.delete.keys]
                case "update_status":
                    call.update_status.keep_unknown_fields = True
                    updated = await calls.update_status(call.update_status)
                    return [_written(call.update_status.key, updated.metadata.revision, updated.store_id)]
                case "update_lifecycle":
                    changed = await calls.update_lifecycle(call.update_lifecycle)
                    return [_written(call.update_lifecycle.key, changed.revision, changed.store_id)]
                case kind:
                    raise AssertionError(f"a call of no known kind: {kind}")


def _written_objects(request: PutRequest | ApplyRequest, response: PutResponse | ApplyResponse) -> list[Written]:
    keys = [key_of(obj).to_proto() for obj in request.objects]
    pairs = zip(keys, response.metadata, strict=True)
    return [_written(key, metadata.revision, response.store_id) for key, metadata in pairs]


def _written(key: Key, revision: int, store_id: str) -> Written:
    return Written(key=key, revision=revision, store_id=store_id)
