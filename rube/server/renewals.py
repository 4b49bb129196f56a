"""Renewals of leases, written together: a heartbeat is no durable write of its own.

The renewals of an interval go into a few transactions, so that thousands of nodes cost a sync or two a second. Each is
answered when it is durable. So nothing that was answered is lost, and a server that fails loses what its callers ask of
the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from rube.api import Lease, RenewLeaseRequest, RenewLeaseResponse
from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotDoneError,
    RubeError,
    UnavailableError,
)
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.types import BUILTIN
from rube.api.well_known import LEASE_TYPE
from rube.server.backend import Backend
from rube.server.objects import prepare_put
from rube.server.stored_object import StoredObject, spec_field
from rube.server.writes import Current, Decided, Intent

WRITTEN_MAX: Final = 250
"""Renewals in one transaction: while it is made, the server does nothing else."""
_TYPE_URL: Final = TYPE_URL_PREFIX + LEASE_TYPE


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    """A renewal whose caller waits."""

    key: bytes
    related: bytes
    """The key of the related object; empty: none."""
    request: RenewLeaseRequest
    answer: asyncio.Future[RenewLeaseResponse] = field(default_factory=asyncio.Future)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Renewals:
    """The renewals that wait, at most as many as the server takes calls, and the task that writes them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._interval_s = backend.config.renewals_interval_s
        # A dict for its order.
        self._waiting: dict[_Waiting, None] = {}
        self._some = asyncio.Event()
        self._stopped = False

    async def renew(self, request: RenewLeaseRequest) -> RenewLeaseResponse:
        """Carries out a RenewLeaseRequest. Raises FailedPreconditionError for a lease that the caller does not hold,
        InvalidArgumentError, and the errors of a write."""
        key = ObjectKey(LEASE_TYPE, request.namespace, request.name)
        BUILTIN.validate_object_key(key)
        related = b""
        if request.HasField("related"):
            wanted = ObjectKey.from_proto(request.related)
            (await self._backend.types.require((wanted.type,))).validate_object_key(wanted)
            related = wanted.to_bytes()
        _check_time(key, request)
        if self._stopped:
            raise _not_done()
        waiting = _Waiting(key=key.to_bytes(), related=related, request=request)
        self._waiting[waiting] = None
        self._some.set()
        try:
            return await waiting.answer
        finally:
            self._waiting.pop(waiting, None)

    async def run(self) -> None:
        """Writes renewals until cancelled, which fails those that wait."""
        taken: Sequence[_Waiting] = ()
        try:
            while True:
                await self._some.wait()
                await self._backend.host.clock.sleep(self._interval_s)
                taken, self._waiting = list(self._waiting), {}
                self._some.clear()
                size = min(WRITTEN_MAX, self._backend.store.limits.txn_ops_max)
                async with asyncio.TaskGroup() as group:
                    for start in range(0, len(taken), size):
                        group.create_task(self._write(taken[start : start + size]))
        finally:
            self._stopped = True
            for each in taken:
                each.fail(UnavailableError("this apiserver stopped while it wrote the renewal: ask another one"))
            for each in self._waiting:
                each.fail(_not_done())

    async def _write(self, part: Sequence[_Waiting]) -> None:
        """Writes renewals in one transaction; in two, and so on, if something is wrong with one, such as a lease
        that is damaged, or leases that are too large together. A store that is away is away for all."""
        try:
            await self._try_to_write(part)
        except Exception as error:
            if len(part) > 1 and not isinstance(error, (UnavailableError, DeadlineExceededError)):
                middle = len(part) // 2
                await self._write(part[:middle])
                await self._write(part[middle:])
                return
            for each in part:
                each.fail(error if isinstance(error, RubeError) else RuntimeError(f"a renewal failed: {error!r}"))

    async def _try_to_write(self, part: Sequence[_Waiting]) -> None:
        store = self._backend.store
        refused: dict[int, RubeError] = {}
        # Of two renewals of one lease, the one with the later time is the last.
        by_time = sorted(enumerate(part), key=lambda each: each[1].request.renew_time.ToNanoseconds())

        def decide(current: Current) -> Decided:
            refused.clear()
            decided: dict[bytes, StoredObject | None] = {}
            for index, each in by_time:
                try:
                    renewed = _renewed(current[each.key], each)
                except RubeError as error:
                    refused[index] = error
                    continue
                if renewed is not None:
                    decided[each.key] = renewed
            return decided

        outcome = await self._backend.writer.write(Intent([each.key for each in part], (), None, decide))
        beside = list(dict.fromkeys(each.related for each in part if each.related))
        found = (await store.get(beside, serializable=True)).records if beside else ()
        revisions = {record.key: record.mod_revision for record in found if record is not None}
        for index, each in enumerate(part):
            if each.answer.done():
                continue
            if index in refused:
                each.answer.set_exception(refused[index])
            else:
                each.answer.set_result(
                    RenewLeaseResponse(
                        revision=outcome.revision,
                        store_id=store.store_id,
                        related_revision=revisions.get(each.related, 0),
                    )
                )


def _renewed(stored: StoredObject | None, waiting: _Waiting) -> StoredObject | None:
    """Returns the lease with the new time; None if it has that time, or a later one, already.

    Raises FailedPreconditionError unless the caller holds it.
    """
    request = waiting.request
    lease = Lease() if stored is None else Lease.FromString(stored.spec_value())
    if stored is None or not request.holder or (lease.holder, lease.session) != (request.holder, request.session):
        held = "is absent" if stored is None else f"is held by {lease.holder!r}, session {lease.session!r}"
        raise FailedPreconditionError(
            f"{ObjectKey.from_bytes(waiting.key)} {held}, not by {request.holder!r}, session {request.session!r}: "
            "acquire it with a put first",
            holder=lease.holder,
        )
    if lease.renew_time.ToNanoseconds() >= request.renew_time.ToNanoseconds():
        return None  # a late repetition of an older renewal
    lease.renew_time.CopyFrom(request.renew_time)
    spec = spec_field(_TYPE_URL, lease.SerializeToString(deterministic=True))
    return prepare_put(stored, StoredObject(stored.metadata, spec), now_ns=0, uid="")


def _check_time(key: ObjectKey, request: RenewLeaseRequest) -> None:
    """Raises InvalidArgumentError unless the request has a time that Timestamp allows."""
    try:
        if request.HasField("renew_time"):
            request.renew_time.ToDatetime()
            return
        what = "is missing"
    except (ValueError, OverflowError) as error:
        what = f"is no time: {error}"
    raise InvalidArgumentError(f"{key}: renew_time {what}: set the caller's present time", field="renew_time")


def _not_done() -> NotDoneError:
    return NotDoneError("this apiserver is stopping: ask another one, or try again")
