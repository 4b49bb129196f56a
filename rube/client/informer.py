"""The informer: a local copy of the objects that match, kept up by one list-and-watch stream."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field

from rube.api import Object, WatchRequest
from rube.api.errors import (
    CompactedError,
    InvalidArgumentError,
    RevisionAheadError,
    RubeError,
    StoreChangedError,
    UnimplementedError,
)
from rube.api.keys import ObjectKey
from rube.api.times import NS_PER_S
from rube.client.client import Client
from rube.client.failure_log import FailureLog
from rube.client.object_cache import Batch, CacheState, Change, ObjectCache
from rube.host import Host
from rube.host.backoff import Backoff

_LOG = logging.getLogger("rube.client")


async def _persist_nothing(batch: Batch) -> None:
    """Persists nothing, for a copy that lives in memory alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InformerConfig:
    """The objects that an informer copies, and its options."""

    type: str
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    state: CacheState = field(default_factory=CacheState)
    """The persisted copy to resume from."""
    persist: Callable[[Batch], Awaitable[None]] = _persist_nothing
    """Awaited with each batch before it is visible: must store the changes and the revision together."""
    transform: Callable[[Object], Object] | None = None
    """For copies of very many objects, which are then kept as bytes: returns what to keep of each, itself or a new
    object of the same key. Pure. (client-go has SetTransform.)"""
    # The pause between two attempts to connect.
    backoff_s_initial: float = 0.2
    backoff_s_max: float = 5.0


class Informer:
    """Keeps `objects` equal to the matching objects on the server, as of `revision`; calls handlers with each change,
    in order.

    Nothing is skipped: what changed while it was disconnected comes as changes when it resumes, or, if the history is
    compacted or the store is another one, as the difference to a new list. Intermediate states may be left out then:
    level-triggered. The objects are shared: copy before you change one.
    """

    def __init__(self, client: Client, host: Host, config: InformerConfig) -> None:
        self._client = client
        self._clock = host.clock
        self._config = config
        self._cache = ObjectCache(config.state, config.transform)
        self._backoff = Backoff(
            host.random.stream("informer"), initial_s=config.backoff_s_initial, max_s=config.backoff_s_max
        )
        self._handlers: list[Callable[[Change], None]] = []
        self._progress_handlers: list[Callable[[], None]] = []
        self._connected = False
        # The position is lost, but not the store that it was of.
        self._same_history = False
        self._refusal = ""
        self._advanced = asyncio.Event()
        self._failures = FailureLog(_LOG, f"watch of {config.type}")
        self.synced = asyncio.Event()
        """Set once the copy has been as new as the server's in this run: after the first list, or after resuming."""

    @property
    def objects(self) -> Mapping[ObjectKey, Object]:
        """The copy, also before `synced` if it was persisted."""
        return self._cache.objects

    @property
    def revision(self) -> int:
        """The store's revision that the copy is as of; 0 before the first list."""
        return self._cache.revision

    @property
    def store_id(self) -> str:
        return self._cache.store_id

    def add_handler(self, handler: Callable[[Change], None]) -> None:
        """Calls `handler` with each change from now on, once the copy shows it. It must not block or raise."""
        self._handlers.append(handler)

    @property
    def connected(self) -> bool:
        """True while a watch that has answered keeps the copy up."""
        return self._connected

    @property
    def refusal(self) -> str:
        """The server's words while it does not know the type, such as one of another version; "" otherwise."""
        return self._refusal

    def add_progress_handler(self, handler: Callable[[], None]) -> None:
        """Calls `handler` when `revision`, `synced` or `connected` may have changed. It must not block or raise."""
        self._progress_handlers.append(handler)

    async def wait_for(self, revision: int) -> None:
        """Returns once the copy shows everything up to that revision, by an event or by a bookmark.

        Bound it with a timeout: a restored store may take long to reach that revision.
        """
        while self._cache.revision < revision:
            await self._advanced.wait()

    async def run(self) -> None:
        """Runs until cancelled. Raises InvalidArgumentError or UnimplementedError if trying again cannot help, and the
        errors of `persist`. A server that does not know the type is asked again: the next version of it may."""
        while True:
            begun_ns = self._clock.monotonic_ns()
            try:
                await self._follow()
            except InvalidArgumentError as error:
                if error.metadata.get("field") != "type":
                    raise
                self._refusal = error.message
                self._failures.failed(error.message)
            except UnimplementedError:
                raise
            except (CompactedError, StoreChangedError, RevisionAheadError) as error:
                self._failures.failed(error.message, then="listing again", level=logging.INFO)
                self._cache.lose_position()
                self._same_history = isinstance(error, CompactedError)
            except RubeError as error:
                self._failures.failed(error.message)
            if self._clock.monotonic_ns() - begun_ns >= self._config.backoff_s_max * NS_PER_S:
                self._backoff.reset()  # after a long success; repeated failures wait longer and longer
            await self._clock.sleep(self._backoff.next_s())

    async def _follow(self) -> None:
        """Runs one watch to its end, which is an error."""
        self._cache.begin()
        try:
            async with aclosing(self._client.watch(self._request())) as responses:
                async for response in responses:
                    self._refusal = ""
                    batch = self._cache.prepare(response)
                    if batch is not None:
                        await self._take(batch)
                        if batch.changes:
                            self._backoff.reset()
                    if not self._cache.listing:
                        self.synced.set()
                        self._connected = True
                        self._failures.works()
                        self._report_progress()
        finally:
            self._connected = False
            self._report_progress()

    def _report_progress(self) -> None:
        for handler in self._progress_handlers:
            handler()

    def _request(self) -> WatchRequest:
        request = WatchRequest(
            type=self._config.type,
            namespace=self._config.namespace,
            name=self._config.name,
            label_selector=self._config.label_selector,
        )
        if self._cache.resumable:
            request.after_revision = self._cache.revision
            request.store_id = self._cache.store_id
        else:
            request.send_initial = True
            if self._same_history:  # another server must not show what is older than the copy
                request.after_revision = self._cache.revision
                request.store_id = self._cache.store_id
        return request

    async def _take(self, batch: Batch) -> None:
        await self._config.persist(batch)
        self._cache.commit(batch)
        for change in batch.changes:
            for handler in self._handlers:
                handler(change)
        waiting, self._advanced = self._advanced, asyncio.Event()
        waiting.set()
