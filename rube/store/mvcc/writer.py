"""The one writer of a store: groups the waiting transactions and commits each group at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from rube.api.errors import DataLossError, NotDoneError, RubeError, UnavailableError
from rube.store.ports import Txn

_LOG = logging.getLogger("rube.store")

WAITING_TXNS_MAX = 4096
"""Transactions that wait for the writer; further callers wait for a place."""
# A group ends before the transaction that would exceed either; one alone may.
GROUP_TXNS_MAX = 1024
GROUP_BYTES_MAX = 16 * 1024 * 1024


_CLOSING = "the store is closing: try again"


class _Waiting(NamedTuple):
    txn: Txn
    size_bytes: int
    done: asyncio.Future[int]


class Committed(NamedTuple):
    """The result of a group: each transaction's revision or its refusal, and whether anything was written."""

    outcomes: Sequence[int | RubeError]
    wrote: bool


class GroupWriter:
    """Commits transactions in the order of their arrival.

    `commit_group` evaluates a group's transactions, each seeing those before it. It returns once their writes and
    everything that they depend on are durable and visible; no caller gets a result before. If it raises, nothing was
    written (or, for UnavailableError, that is unknown). After a DataLossError nothing is written any more.
    """

    def __init__(
        self,
        commit_group: Callable[[Sequence[Txn]], Awaitable[Committed]],
        *,
        groups_in_flight_max: int = 1,
        further_group_txns_min: int = 1,
    ) -> None:
        """With more than one group in flight `commit_group` must keep the order of those that it has begun.

        While one group is in flight, another begins once so many transactions wait: small groups cost more than their
        order saves.
        """
        self._commit_group = commit_group
        self._groups_in_flight_max = groups_in_flight_max
        self._further_group_txns_min = further_group_txns_min
        self._in_flight: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Waiting] = deque()
        # Set while there is work for the writer, and while there is a place for one more to wait.
        self._work = asyncio.Event()
        self._place = asyncio.Event()
        self._place.set()
        self._failure: RubeError | None = None
        # The error of the last group; empty if it was written.
        self._trouble = ""
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(), name="store writer")

    async def commit(self, txn: Txn, size_bytes: int) -> int:
        """Returns the revision. A cancelled caller does not learn whether its transaction was committed."""
        self._check()
        while len(self._waiting) >= WAITING_TXNS_MAX:
            self._place.clear()
            await self._place.wait()
            self._check()
        done: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append(_Waiting(txn, size_bytes, done))
        self._work.set()
        return await done

    async def close(self) -> None:
        """Commits the waiting transactions, then ends."""
        self._closing = True
        self._work.set()
        self._place.set()
        await asyncio.wait([self._task])

    def _check(self) -> None:
        if self._failure is not None:
            raise _copy(self._failure)
        if self._closing:
            raise NotDoneError(_CLOSING)

    async def _run(self) -> None:
        try:
            while self._waiting or not self._closing:
                if self._waiting and self._groups_in_flight_max == 1:
                    await self._commit(self._next_group())
                elif self._may_begin():
                    self._begin(self._next_group())
                else:
                    self._work.clear()
                    await self._work.wait()
            if self._in_flight:
                await asyncio.wait(self._in_flight)
        finally:
            self._closing = True
            self._place.set()
            self._fail(self._waiting, NotDoneError(_CLOSING))

    def _may_begin(self) -> bool:
        if not self._in_flight:
            return bool(self._waiting)
        room = len(self._in_flight) < self._groups_in_flight_max
        return room and len(self._waiting) >= self._further_group_txns_min

    def _begin(self, group: list[_Waiting]) -> None:
        task = self._loop.create_task(self._commit(group), name="store group")
        self._in_flight.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._work.set()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size_bytes = 0
        while self._waiting and len(group) < GROUP_TXNS_MAX:
            size_bytes += self._waiting[0].size_bytes
            if group and size_bytes > GROUP_BYTES_MAX:
                break
            group.append(self._waiting.popleft())
        self._place.set()
        return group

    async def _commit(self, waiting: list[_Waiting]) -> None:
        """Commits one group. Its callers, the refused ones too, get their answer only when everything it depends on is
        durable."""
        try:
            if self._failure is not None:
                raise self._failure
            committed = await self._commit_group([one.txn for one in waiting])
        except asyncio.CancelledError:
            self._fail(waiting, UnavailableError("the store was stopped: the write may have happened"))
            raise
        except Exception as error:  # whatever it is, every caller must get it
            self._fail(waiting, self._noted(error))
            return
        if self._trouble and committed.wrote:
            _LOG.info("writes succeed again")
            self._trouble = ""
        for one, outcome in zip(waiting, committed.outcomes, strict=True):
            if one.done.done():
                continue  # its caller was cancelled
            if isinstance(outcome, int):
                one.done.set_result(outcome)
            else:
                one.done.set_exception(outcome)

    def _noted(self, error: Exception) -> RubeError:
        """Returns the error for the callers; logs it once, as long as it stays the same. DataLossError is permanent."""
        if not isinstance(error, RubeError):
            _LOG.error("unexpected error in the store's writer", exc_info=error)
            error = DataLossError(f"the store's writer failed ({error!r}): restart the process")
        if isinstance(error, DataLossError):
            self._failure = error
        if error.message != self._trouble:
            _LOG.error("writes fail: %s", error.message)
            self._trouble = error.message
        return error

    def _fail(self, waiting: Iterable[_Waiting], error: RubeError) -> None:
        for one in waiting:
            if not one.done.done():
                one.done.set_exception(_copy(error))


def _copy(error: RubeError) -> RubeError:
    """Returns an exception of its own for each caller: a raised one collects tracebacks."""
    return type(error)(error.message, **error.metadata)
