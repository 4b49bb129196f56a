"""Leader election by an api.Lease: one of several processes acts, and its writes are fenced by the lease's term.

It never compares wall clocks of different machines. A candidate takes over once it has seen the lease unchanged for its
whole duration, by its own monotonic clock; a leader stops earlier, a margin of the duration after the start of its last
acknowledged renewal, by its own. So clocks whose rates differ by less than the margin never show two leaders; if they
do, or a process was paused, the fence refuses the older one (Kleppmann, How to do distributed locking, 2016).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from rube.api import Fence, GetRequest, GetResponse, Lease, PutRequest, PutResponse
from rube.api.errors import AbortedError, NotFoundError, RubeError
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.times import NS_PER_S
from rube.api.well_known import LEADER_NAMESPACE, LEASE_TYPE
from rube.client import FailureLog
from rube.host import Host

_LOG = logging.getLogger("rube.controllers")


class LeaseCalls(Protocol):
    """The calls of an election; each raises the RubeError that it ended with."""

    async def get(self, request: GetRequest) -> GetResponse: ...

    async def put(self, request: PutRequest) -> PutResponse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderConfig:
    """Times in seconds. `group` names the lease and the fence, `holder` this process."""

    group: str
    holder: str
    duration_s: float = 15.0
    retry_s: float = 3.0
    """The pause between two renewals, and between two looks of a candidate."""
    margin: float = 0.2
    """The part of the duration that a leader gives up for clocks that run at different rates."""


class Leadership:
    """One term of one leader."""

    def __init__(self, host: Host, group: str, term: int, until_ns: int) -> None:
        self._clock = host.clock
        self.fence = Fence(group=group, term=term)
        self.until_ns = until_ns
        """On the monotonic clock: moved by each renewal, and into the past when the term is over."""

    def holds(self) -> bool:
        """Returns whether this process may still act; once False, always False."""
        return self._clock.monotonic_ns() < self.until_ns


class LeaderElection:
    """Runs `work` whenever this process leads."""

    def __init__(self, client: LeaseCalls, host: Host, config: LeaderConfig) -> None:
        self._client = client
        self._host = host
        self._clock = host.clock
        self._config = config
        self._key = ObjectKey(LEASE_TYPE, LEADER_NAMESPACE, config.group)
        self._random = host.random.stream(f"leader/{config.group}")
        self._failures = FailureLog(_LOG, f"election of {config.group}")
        self._lease = Lease()
        self._revision = 0
        self._store_id = ""
        self._seen_ns = 0  # when the lease was last seen to change, on the monotonic clock

    async def run(self, work: Callable[[Leadership], Awaitable[None]]) -> None:
        """Waits to be elected, runs `work`, cancels it when the lease is lost, and waits again, until cancelled.

        An error of `work` ends this. When cancelled as leader it releases the lease, so that another leads at once.
        """
        while True:
            leadership = await self._try_acquire()
            if leadership is None:
                await self._clock.sleep(self._config.retry_s * (0.5 + self._random.random()))
                continue
            _LOG.info("%s leads %s, term %d", self._config.holder, self._config.group, leadership.fence.term)
            await self._lead(leadership, work)
            _LOG.warning("%s no longer leads %s", self._config.holder, self._config.group)

    async def _lead(self, leadership: Leadership, work: Callable[[Leadership], Awaitable[None]]) -> None:
        renewing = asyncio.ensure_future(self._renew(leadership))
        working = asyncio.ensure_future(work(leadership))
        try:
            await asyncio.wait((renewing, working), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        finally:
            held = leadership.holds()
            leadership.until_ns = 0
            for task in (working, renewing):
                task.cancel()
            await asyncio.wait((renewing, working))
            if held:
                await self._give_away()

    async def _renew(self, leadership: Leadership) -> None:
        """Renews until it is lost: taken by another, or not renewed in time."""
        while leadership.holds():
            left_s = (leadership.until_ns - self._clock.monotonic_ns()) / NS_PER_S
            await self._clock.sleep(min(self._config.retry_s, left_s))
            left_s = (leadership.until_ns - self._clock.monotonic_ns()) / NS_PER_S
            try:
                async with self._clock.timeout(max(left_s, 0.0)):
                    leadership.until_ns = await self._write(self._config.holder, self._lease.term)
            except AbortedError:
                if not await self._still_mine(leadership):
                    return
            except (RubeError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                _LOG.warning("%s cannot renew %s: %s", self._config.holder, self._config.group, why)

    async def _still_mine(self, leadership: Leadership) -> bool:
        """Returns whether the lease is still this process's after ABORTED: an earlier renewal may have been written
        without an answer."""
        try:
            await self._read()
        except RubeError:
            return True  # not known; the deadline stands
        return self._lease.holder == self._config.holder and self._lease.term == leadership.fence.term

    async def _try_acquire(self) -> Leadership | None:
        try:
            await self._read()
            now_ns = self._clock.monotonic_ns()
            lapsed = now_ns - self._seen_ns >= self._lease.duration.ToNanoseconds()
            if self._lease.holder not in ("", self._config.holder) and not (lapsed or self._is_of_another_store()):
                return None
            term = self._lease.term + 1
            until_ns = await self._write(self._config.holder, term)
        except AbortedError:
            return None
        except RubeError as error:
            self._failures.failed(error.message)
            return None
        self._failures.works()
        return Leadership(self._host, self._config.group, term, until_ns)

    def _is_of_another_store(self) -> bool:
        """Returns whether the lease came with a backup, so that it has no holder here. Its term still counts, and so do
        the fences."""
        return self._lease.store_id not in ("", self._store_id)

    async def _read(self) -> None:
        try:
            response = await self._client.get(GetRequest(key=self._key.to_proto()))
        except NotFoundError:
            # The term goes on from the last one seen: fences only grow.
            self._lease.holder, self._revision = "", 0
            return
        obj, moved = response.object, response.store_id != self._store_id
        self._store_id = response.store_id
        if obj.metadata.revision != self._revision or moved:
            self._seen_ns = self._clock.monotonic_ns()
            self._revision = obj.metadata.revision
            obj.spec.Unpack(self._lease)

    async def _write(self, holder: str, term: int) -> int:
        """Writes the lease over the one that was read, and returns until when it then holds."""
        start_ns = self._clock.monotonic_ns()
        lease = Lease(holder=holder, term=term, store_id=self._store_id)
        lease.duration.FromNanoseconds(round(self._config.duration_s * NS_PER_S))
        lease.renew_time.FromNanoseconds(self._clock.now_ns())
        lease.acquire_time.CopyFrom(self._lease.acquire_time if term == self._lease.term else lease.renew_time)
        request = PutRequest(fence=Fence(group=self._config.group, term=term), keep_unknown_fields=True)
        obj = request.objects.add()
        obj.metadata.namespace, obj.metadata.name = self._key.namespace, self._key.name
        obj.spec.Pack(lease, TYPE_URL_PREFIX, deterministic=True)
        request.preconditions.add(key=self._key.to_proto(), revision=self._revision, absent=not self._revision)
        response = await self._client.put(request)
        self._lease, self._revision, self._store_id = lease, response.metadata[0].revision, response.store_id
        self._seen_ns = self._clock.monotonic_ns()
        return start_ns + round(self._config.duration_s * (1 - self._config.margin) * NS_PER_S)

    async def _give_away(self) -> None:
        """Releases the lease in one attempt, so that others needn't wait for it to lapse."""
        try:
            async with self._clock.timeout(self._config.retry_s):
                await self._write("", self._lease.term)
        except (RubeError, TimeoutError) as error:
            _LOG.info("%s could not release %s: %s", self._config.holder, self._config.group, error)
