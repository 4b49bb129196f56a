"""The typed client of api.Api."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar

from grpc import aio

from rube.api import (
    ApiAsyncStub,
    ApplyRequest,
    ApplyResponse,
    AuditRequest,
    AuditResponse,
    DeleteRequest,
    DeleteResponse,
    GetRequest,
    GetResponse,
    HistoryRequest,
    HistoryResponse,
    ListRequest,
    ListResponse,
    LogsRequest,
    LogsResponse,
    PatchRequest,
    PatchResponse,
    PutRequest,
    PutResponse,
    RenewLeaseRequest,
    RenewLeaseResponse,
    RightsAsyncStub,
    RightsStub,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    UpdateStatusRequest,
    UpdateStatusResponse,
    WatchRequest,
    WatchResponse,
)
from rube.api.errors import (
    BusyError,
    DeadlineExceededError,
    NotSentError,
    RubeError,
    UnavailableError,
)
from rube.api.times import NS_PER_S
from rube.client.config import ClientConfig
from rube.client.endpoints import Endpoints
from rube.client.lists import Lists
from rube.client.retries import Request, is_unknown, may_repeat, outcome
from rube.host import Host
from rube.host.backoff import Backoff
from rube.transport import rube_error

Answer = TypeVar(
    "Answer",
    PutResponse,
    PatchResponse,
    ApplyResponse,
    GetResponse,
    ListResponse,
    HistoryResponse,
    DeleteResponse,
    UpdateLifecycleResponse,
    UpdateStatusResponse,
    RenewLeaseResponse,
    WatchResponse,
)
Call = Callable[["ApiAsyncStub", float], Awaitable[Answer]]


class Client(Lists):
    """Calls any of several apiservers of one cluster; each method takes the request and returns the response.

    Every error is a RubeError. After UNAVAILABLE, or an attempt without an answer, the next endpoint gets the call;
    `rube.client.retries` decides which calls are repeated. Close it, or use `async with`.
    """

    def __init__(self, host: Host, endpoints: Sequence[str], config: ClientConfig | None = None) -> None:
        """`endpoints`: `host:port` or `unix:/path`, in order of preference."""
        super().__init__(config or ClientConfig())
        self._clock = host.clock
        self._random = host.random.stream("client")
        self._endpoints = Endpoints(host.network, endpoints)
        self._store_id = ""
        self._revision = 0

    @property
    def store_id(self) -> str:
        """The store of the last answer; empty before the first."""
        return self._store_id

    @property
    def revision(self) -> int:
        """The highest revision of that store in any answer."""
        return self._revision

    @property
    def endpoint(self) -> str:
        """The server that the next call goes to."""
        return self._endpoints.current

    async def put(self, request: PutRequest, *, deadline_s: float | None = None) -> PutResponse:
        return await self._call(request, lambda stub, limit_s: stub.Put(request, timeout=limit_s), deadline_s)

    async def patch(self, request: PatchRequest, *, deadline_s: float | None = None) -> PatchResponse:
        return await self._call(request, lambda stub, limit_s: stub.Patch(request, timeout=limit_s), deadline_s)

    async def apply(self, request: ApplyRequest, *, deadline_s: float | None = None) -> ApplyResponse:
        return await self._call(request, lambda stub, limit_s: stub.Apply(request, timeout=limit_s), deadline_s)

    async def get(self, request: GetRequest, *, deadline_s: float | None = None) -> GetResponse:
        return await self._call(request, lambda stub, limit_s: stub.Get(request, timeout=limit_s), deadline_s)

    async def delete(self, request: DeleteRequest, *, deadline_s: float | None = None) -> DeleteResponse:
        return await self._call(request, lambda stub, limit_s: stub.Delete(request, timeout=limit_s), deadline_s)

    async def update_status(
        self, request: UpdateStatusRequest, *, deadline_s: float | None = None
    ) -> UpdateStatusResponse:
        return await self._call(request, lambda stub, limit_s: stub.UpdateStatus(request, timeout=limit_s), deadline_s)

    async def update_lifecycle(
        self, request: UpdateLifecycleRequest, *, deadline_s: float | None = None
    ) -> UpdateLifecycleResponse:
        return await self._call(
            request, lambda stub, limit_s: stub.UpdateLifecycle(request, timeout=limit_s), deadline_s
        )

    async def renew_lease(self, request: RenewLeaseRequest, *, deadline_s: float | None = None) -> RenewLeaseResponse:
        return await self._call(request, lambda stub, limit_s: stub.RenewLease(request, timeout=limit_s), deadline_s)

    async def history(self, request: HistoryRequest, *, deadline_s: float | None = None) -> HistoryResponse:
        """Returns one page of an object's versions."""
        return await self._call(request, lambda stub, limit_s: stub.History(request, timeout=limit_s), deadline_s)

    async def list_page(self, request: ListRequest, *, deadline_s: float | None = None) -> ListResponse:
        return await self._call(request, lambda stub, limit_s: stub.List(request, timeout=limit_s), deadline_s)

    async def watch(self, request: WatchRequest) -> AsyncGenerator[WatchResponse, None]:
        """Yields the responses of one watch on one server, until it fails or the iterator is closed: close it with
        `contextlib.aclosing`.

        It ends with a RubeError and is not repeated: `rube.client.Informer` resumes. A server that sends no first
        response in time, a bookmark at least, counts as hanging: DeadlineExceededError.
        """
        target = self._endpoints.current
        try:
            stub = await self._endpoints.connected_stub(self._clock, self._config.attempt_s_max)
        except NotSentError as error:
            self._rotate(error, target)
            raise
        call = stub.Watch(request)
        try:
            response = await self._first(call, target, "a watch")
            while isinstance(response, WatchResponse):
                yield self._seen(response)
                response = await call.read()
            raise UnavailableError(f"{target} ended the watch")
        except aio.AioRpcError as error:
            failure = rube_error(error)
            self._rotate(failure, target)
            raise failure from error
        except UnavailableError as error:
            self._rotate(error, target)
            raise
        finally:
            call.cancel()

    async def logs(self, request: LogsRequest) -> AsyncGenerator[LogsResponse, None]:
        """Yields a unit's output, until it has ended or the iterator is closed: close it with `contextlib.aclosing`.

        If a server cannot ask the node, because it is not attached there, the next server is asked.
        """
        for attempts_left in reversed(range(self._endpoints.count)):
            answered = False
            try:
                async with aclosing(self._logs_of_one(request)) as responses:
                    async for response in responses:
                        answered = True
                        yield response
                return
            except UnavailableError:
                if answered or not attempts_left:
                    raise

    async def audit(self, request: AuditRequest) -> AsyncGenerator[AuditResponse, None]:
        """Yields the audit log of one server, until its end or the iterator is closed: close it with
        `contextlib.aclosing`."""
        target = self._endpoints.current
        try:
            channel = await self._endpoints.connected_channel(self._clock, self._config.attempt_s_max)
        except NotSentError as error:
            self._rotate(error, target)
            raise
        stub: RightsAsyncStub = RightsStub(channel)
        call = stub.Audit(request)
        try:
            response = await self._first(call, target, "a request for the audit log")
            while isinstance(response, AuditResponse):
                yield response
                response = await call.read()
        except aio.AioRpcError as error:
            failure = rube_error(error)
            self._rotate(failure, target)
            raise failure from error
        finally:
            call.cancel()

    async def _logs_of_one(self, request: LogsRequest) -> AsyncGenerator[LogsResponse, None]:
        target = self._endpoints.current
        try:
            stub = await self._endpoints.connected_stub(self._clock, self._config.attempt_s_max)
        except NotSentError as error:
            self._rotate(error, target)
            raise
        call = stub.Logs(request)
        try:
            response = await self._first(call, target, "a request for logs")
            while isinstance(response, LogsResponse):
                yield response
                response = await call.read()
        except aio.AioRpcError as error:
            failure = rube_error(error)
            self._rotate(failure, target)
            raise failure from error
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._endpoints.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _first(self, call: aio.UnaryStreamCall[Any, Any], target: str, what: str) -> object:
        try:
            async with self._clock.timeout(self._config.attempt_s_max):
                return await call.read()
        except TimeoutError as error:
            hanging = DeadlineExceededError(
                f"{target} gave no first response to {what} within {self._config.attempt_s_max} s (attempt_s_max)"
            )
            self._rotate(hanging, target)
            raise hanging from error

    async def _call(self, request: Request, call: Call[Answer], deadline_s: float | None) -> Answer:
        deadline_s = self._config.deadline_s if deadline_s is None else deadline_s
        end_ns = self._clock.monotonic_ns() + round(deadline_s * NS_PER_S)
        backoff = Backoff(self._random, initial_s=self._config.backoff_s_initial, max_s=self._config.backoff_s_max)
        retries_left = self._config.retries_max
        unknown: RubeError | None = None
        while True:
            target = self._endpoints.current
            try:
                return self._seen(await self._attempt(request, call, end_ns))
            except RubeError as failure:
                self._rotate(failure, target)
                delay_s = backoff.next_s()
                left_s = (end_ns - self._clock.monotonic_ns()) / NS_PER_S
                if isinstance(failure, BusyError):
                    delay_s += failure.retry_after_s
                if not retries_left or delay_s >= left_s or not may_repeat(request, failure):
                    told = outcome(request, failure, unknown)
                    if told is failure:
                        raise
                    raise told from failure
                if is_unknown(failure):
                    unknown = failure
            retries_left -= 1
            await self._clock.sleep(delay_s)

    async def _attempt(self, request: Request, call: Call[Answer], end_ns: int) -> Answer:
        """Makes one attempt; it leaves time for another one if one may follow. Raises NotSentError if it was not
        begun."""
        left_s = (end_ns - self._clock.monotonic_ns()) / NS_PER_S
        stub = await self._endpoints.connected_stub(self._clock, min(left_s, self._config.attempt_s_max))
        left_s = (end_ns - self._clock.monotonic_ns()) / NS_PER_S
        repeatable = may_repeat(request, DeadlineExceededError("in prospect"))
        try:
            return await call(stub, min(left_s, self._config.attempt_s_max) if repeatable else left_s)
        except aio.AioRpcError as error:
            raise rube_error(error) from error

    def _rotate(self, failure: RubeError, target: str) -> None:
        if isinstance(failure, (UnavailableError, DeadlineExceededError)):
            self._endpoints.rotate(target)

    def _seen(self, answer: Answer) -> Answer:
        if answer.store_id != self._store_id:
            self._store_id, self._revision = answer.store_id, 0
        self._revision = max(self._revision, answer.revision)
        return answer
