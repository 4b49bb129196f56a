"""The store: `rube.store.Store` made of etcd's transactions, ranges and log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from grpc import StatusCode, aio

from rube.api.errors import (
    AbortedError,
    CompactedError,
    DataLossError,
    FailedPreconditionError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.store.config import StoreConfig
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.descriptor import StoreDescriptor
from rube.store.etcd.errors import COMPACTED
from rube.store.etcd.log import LogReader, compacted
from rube.store.etcd.reads import EtcdReads, check_not_negative
from rube.store.etcd.requests import OPS_MAX, REQUEST_BYTES_MAX, mod_revision_is, put_record, put_tick
from rube.store.etcd.tail import RevisionTail
from rube.store.etcd.watch import READERS_MAX, ReaderPlaces, follow
from rube.store.mvcc.evaluate import check_txn
from rube.store.ports import ChangeBatch, Compare, Lookup, Op, Page, StoreLimits, Txn

_LOG = logging.getLogger("rube.store")

NAMESPACES_MAX = 8
"""Namespaces that a transaction can compare beside as many new objects as it can write."""
TXN_OPS_MAX = OPS_MAX - 1 - NAMESPACES_MAX
"""One compare of each transaction is the fence."""
TXN_BYTES_MAX = 1280 * 1024
"""Bytes of keys and values; some room is left for what the request adds, checksums too."""
VALUE_BYTES_MAX = 1024 * 1024
TAIL_REACH_REVISIONS = 5000
"""The revisions that a new server's tail reaches back: all its clients connect at once, and resume from a few revisions
ago."""
# A lost stream of the tail is opened again after so long; longer each time, up to the maximum.
TAIL_PAUSE_S_MIN = 0.05
TAIL_PAUSE_S_MAX = 2.0
TICK_INTERVAL_S_MIN = 1.0
"""A tail that is behind and gets no events is checked once in so long."""


class EtcdStore:
    """A `rube.store.Store` on an etcd cluster that others may use too. It closes its client."""

    def __init__(self, reads: EtcdReads, descriptor: StoreDescriptor, config: StoreConfig) -> None:
        self._reads = reads
        self._client = reads.client
        self._clock = reads.client.clock
        self._layout = reads.layout
        self._descriptor = descriptor
        self._config = config
        self._limits = StoreLimits(
            txn_ops_max=min(config.limits.txn_ops_max, TXN_OPS_MAX),
            txn_bytes_max=min(config.limits.txn_bytes_max, TXN_BYTES_MAX),
            value_bytes_max=min(config.limits.value_bytes_max, VALUE_BYTES_MAX),
        )
        self.tail = RevisionTail(max(reads.revision - TAIL_REACH_REVISIONS, 0), config.tail_bytes_max)
        self.places = ReaderPlaces(READERS_MAX)
        # The newest revision that the store is known to be compacted at.
        self._compacted = 0
        self._ticking = asyncio.Lock()
        # The error that ended the store, if any; and whether the store found it out by itself.
        self._over: RubeError | None = None
        self._failed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep_tail(), name="etcd tail"),
            loop.create_task(self._keep_ticking(), name="etcd tick"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._task_ended)

    @property
    def limits(self) -> StoreLimits:
        return self._limits

    @property
    def store_id(self) -> str:
        return self._descriptor.store_id

    @property
    def revision(self) -> int:
        """The newest known revision: etcd's own, which writes of others under other prefixes move on too."""
        return max(self._reads.revision, self.tail.revision)

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        self._check_usable()
        check_not_negative(min_revision)
        if len(keys) > TXN_OPS_MAX:
            raise ResourceExhaustedError(
                f"{len(keys)} keys are more than the store's txn_ops_max of {TXN_OPS_MAX}: ask for fewer at a time",
                limit="txn_ops_max",
                value=TXN_OPS_MAX,
            )
        return await self._reads.get(keys, min_revision)

    async def range(
        self, start: bytes, end: bytes | None, *, revision: int = 0, min_revision: int = 0, limit: int = 0
    ) -> Page:
        self._check_usable()
        return await self._reads.range(start, end, revision, min_revision, limit)

    async def commit(self, txn: Txn) -> int:
        """See `rube.store.Store`. UnavailableError and DeadlineExceededError leave open whether it was committed if
        their message says so; UnavailableError also once the store was replaced."""
        self._check_usable()
        check_txn(txn, self._limits)
        request = self._request(txn)
        answer = await self._client.txn(request, repeatable=False)
        self._reads.revision = max(self._reads.revision, answer.header.revision)
        if not answer.succeeded:
            raise self._failed_compare(txn, answer)
        return answer.header.revision

    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        return follow(self, self._clock, self._config, start, end, after_revision)

    async def compact(self, revision: int) -> None:
        """Compacts the history of the whole etcd, which is one. Raises RevisionAheadError past the newest revision."""
        self._check_usable()
        check_not_negative(revision)
        if revision == 0:
            return
        request = rpc.CompactionRequest(revision=revision)
        try:
            await self._client.call(lambda member: member.kv.Compact, request)
        except aio.AioRpcError as error:
            if error.code() is not StatusCode.OUT_OF_RANGE or error.details() != COMPACTED:
                raise await self._reads.error_of(error, revision) from error
        self._compacted = max(self._compacted, revision)

    async def failed(self) -> RubeError:
        """Returns when another store, or an older state of this one, has taken its place."""
        await self._failed.wait()
        assert self._over is not None
        return self._over

    async def close(self) -> None:
        self._over = self._over or UnavailableError("the store is closed")
        self.tail.wake()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._client.close()

    # Watches

    async def check_resumable(self, after_revision: int) -> None:
        self._check_usable()
        check_not_negative(after_revision)
        if not self.tail.start_revision <= after_revision <= self.tail.revision and after_revision > 0:
            await self._reads.check_kept(after_revision)

    def check_kept(self, revision: int) -> None:
        self._check_usable()
        if revision < self._compacted:
            raise compacted(self._compacted)

    async def reach_tail(self) -> None:
        """Makes a revision that each log reader meets, so that it can tell when it has reached the tail."""
        if self.tail.is_met:
            return
        try:
            revision = await self._tick(self.tail.revision)
        except RubeError as error:
            _LOG.warning("store %s: a watch may see its first bookmark late: %s", self._client.url, error)
            return
        while self.tail.revision < revision:
            self._check_usable()
            await self.tail.advanced()

    async def open_log(self, after_revision: int) -> LogReader:
        return await LogReader.open(self._client, self._layout, after_revision)

    # RevisionTail

    async def _keep_tail(self) -> None:
        pause_s = TAIL_PAUSE_S_MIN
        while self._over is None:
            before = self.tail.revision
            try:
                await self._read_tail()
            except CompactedError as error:
                # Compaction overtook the tail: a watch behind it reads the log, or gets CompactedError.
                self.tail.restart(int(error.metadata["oldest_revision"]))
            except RubeError as error:
                _LOG.info("store %s: the tail of etcd's log is read again: %s", self._client.url, error)
            pause_s = TAIL_PAUSE_S_MIN if self.tail.revision > before else min(2 * pause_s, TAIL_PAUSE_S_MAX)
            await self._clock.sleep(pause_s)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """Fails the store after an error of the task, since nothing else would notice that the tail has stopped."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOG.error("store %s: %s has failed", self._client.url, task.get_name(), exc_info=error)
            self._end(UnavailableError(f"store {self._client.url}: {task.get_name()} has failed: {error!r}"))

    async def _read_tail(self) -> None:
        await self._check_history()
        reader = await self.open_log(self.tail.revision)
        try:
            while True:
                revisions = await reader.read()
                if any(entry.descriptor_changed for entry in revisions):
                    await self._check_descriptor()
                self.tail.extend(revisions)
        finally:
            reader.close()

    async def _check_history(self) -> None:
        """Compares etcd's revision with the known one whenever the log is opened again: after a restore of a snapshot
        all members of etcd have been restarted."""
        known_revision = self.revision
        revision = await self._reads.newest_revision()
        if revision < known_revision:
            raise self._end(
                DataLossError(
                    f"etcd of store {self._client.url} went back from revision {known_revision} to {revision}, as if "
                    "an older snapshot had been restored: put another id into the second line of the key "
                    f"{self._layout.descriptor_key.decode()} and restart all apiservers, so that their clients list "
                    "again"
                )
            )

    async def _check_descriptor(self) -> None:
        try:
            descriptor = await self._reads.descriptor()
        except FailedPreconditionError:
            descriptor = None
        if descriptor != self._descriptor:
            self._end(self._replaced())

    def _replaced(self) -> RubeError:
        return UnavailableError(
            f"store {self._client.url} was removed or replaced while it was in use: restart this server"
        )

    def _end(self, error: RubeError) -> RubeError:
        self._over = self._over or error
        self._failed.set()
        self.tail.wake()
        return self._over

    async def _keep_ticking(self) -> None:
        """Moves the tail on if etcd's revision has grown under other prefixes and a watch may wait for that."""
        interval_s = max(self._config.bookmark_interval_s, TICK_INTERVAL_S_MIN)
        wanted = 0
        while True:
            await self._clock.sleep(interval_s)
            if self.tail.followers and self.tail.revision < wanted:
                await self._move_on(wanted)
            wanted = self._reads.revision

    async def _move_on(self, wanted: int) -> None:
        try:
            revision = await self._tick(wanted)
            async with self._clock.timeout(TICK_INTERVAL_S_MIN):
                while self.tail.revision < revision:
                    await self.tail.advanced()
        except TimeoutError:
            _LOG.warning("store %s: a member delivers no events: turning to another", self._client.url)
            self._client.leave_current()
        except RubeError as error:
            _LOG.info("store %s: %s", self._client.url, error)

    async def _tick(self, wanted: int) -> int:
        """Returns a revision past `wanted` that every reader of the log meets; one caller writes it for all that
        wait."""
        async with self._ticking:
            if self.tail.revision > wanted:
                return self.tail.revision
            request = rpc.TxnRequest(compare=[self._fence()], success=[put_tick(self._layout)])
            answer = await self._client.txn(request, repeatable=True)
            if not answer.succeeded:
                raise self._end(self._replaced())
            return answer.header.revision

    # Transactions

    def _request(self, txn: Txn) -> rpc.TxnRequest:
        compared = [self._layout.descriptor_key, *(self._layout.key(key) for key, _ in txn.compares)]
        request = rpc.TxnRequest(
            compare=[self._fence(), *(self._compare(compare) for compare in txn.compares)],
            success=[self._op(op) for op in txn.ops],
            failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=key, keys_only=True)) for key in compared],
        )
        if request.ByteSize() > REQUEST_BYTES_MAX:
            raise ResourceExhaustedError(
                f"a request of {request.ByteSize()} bytes with all keys is larger than etcd's limit of "
                f"{REQUEST_BYTES_MAX}: split the transaction",
                limit="txn_bytes_max",
                value=REQUEST_BYTES_MAX,
            )
        return request

    def _fence(self) -> rpc.Compare:
        """Returns the condition that the store was not replaced; without it nothing is written."""
        return mod_revision_is(self._layout.descriptor_key, self._descriptor.mod_revision)

    def _compare(self, compare: Compare) -> rpc.Compare:
        return mod_revision_is(self._layout.key(compare.key), compare.mod_revision)

    def _op(self, op: Op) -> rpc.RequestOp:
        if op.value is None:
            return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=self._layout.key(op.key)))
        return put_record(self._layout, op.key, op.value)

    def _failed_compare(self, txn: Txn, answer: rpc.TxnResponse) -> RubeError:
        revisions = [
            response.response_range.kvs[0].mod_revision if response.response_range.kvs else 0
            for response in answer.responses
        ]
        if revisions[0] != self._descriptor.mod_revision:
            return self._end(self._replaced())
        for (key, expected), actual in zip(txn.compares, revisions[1:], strict=True):
            if actual != expected:
                shown = key[:256].decode("utf-8", "backslashreplace")
                return AbortedError(
                    f"key {shown} was last written at revision {actual}, not {expected}: read it again",
                    key=shown,
                    revision=actual,
                )
        raise AssertionError("etcd answered that a compare failed, but all hold")

    def _check_usable(self) -> None:
        if self._over is not None:
            raise type(self._over)(self._over.message)
