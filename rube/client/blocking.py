"""The calls of the client that have one response, without an event loop: for a program that makes a few and ends."""

from __future__ import annotations

import time  # noqa: TID251 (an adapter: its calls block)
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from google.protobuf.message import DecodeError

from rube.api import (
    ApplyRequest,
    ApplyResponse,
    DeleteRequest,
    DeleteResponse,
    ExplainRequest,
    ExplainResponse,
    GetRequest,
    GetResponse,
    HistoryRequest,
    HistoryResponse,
    ListRequest,
    ListResponse,
    PatchRequest,
    PatchResponse,
    PutRequest,
    PutResponse,
    UpdateLifecycleRequest,
    UpdateLifecycleResponse,
    WhoAmIRequest,
    WhoAmIResponse,
)
from rube.api.errors import BusyError, DeadlineExceededError, RubeError, UnavailableError
from rube.client.config import ClientConfig
from rube.client.lists import Lists
from rube.client.retries import Request, is_unknown, may_repeat, outcome
from rube.host.network import ChannelTls
from rube.transport.unary import UnaryConnection

Answer = TypeVar(
    "Answer",
    PutResponse,
    PatchResponse,
    ApplyResponse,
    GetResponse,
    HistoryResponse,
    ListResponse,
    DeleteResponse,
    UpdateLifecycleResponse,
    WhoAmIResponse,
    ExplainResponse,
)
CONNECT_S_MAX: Final = 2.0
"""A server that is not connected after so long is left for the next one."""
BUSY_S_MIN: Final = 0.05
"""The wait before another attempt at a server that is busy."""
# Other requests than these are for `/api.Api/`.
_SERVICES: Final = {WhoAmIRequest: "/auth.Rights/", ExplainRequest: "/auth.Rights/"}


class BlockingClient(Lists):
    """Calls any of several apiservers, each at most once for a call. Its coroutines never wait: they block instead.

    Every error is a RubeError. `rube.client.retries` decides which calls the next endpoint gets.
    """

    def __init__(self, endpoints: Sequence[str], timeout_s: float, tls: ChannelTls | None = None) -> None:
        """`endpoints`: `host:port` or `unix:/path`, in order of preference. A call takes at most `timeout_s`."""
        super().__init__(ClientConfig())
        self._endpoints = tuple(endpoints)
        self._timeout_s = timeout_s
        self._tls = tls
        self._current = 0
        self._connection: UnaryConnection | None = None

    async def put(self, request: PutRequest) -> PutResponse:
        return self._call("Put", request, PutResponse)

    async def patch(self, request: PatchRequest) -> PatchResponse:
        return self._call("Patch", request, PatchResponse)

    async def apply(self, request: ApplyRequest) -> ApplyResponse:
        return self._call("Apply", request, ApplyResponse)

    async def get(self, request: GetRequest) -> GetResponse:
        return self._call("Get", request, GetResponse)

    async def history(self, request: HistoryRequest) -> HistoryResponse:
        return self._call("History", request, HistoryResponse)

    async def delete(self, request: DeleteRequest) -> DeleteResponse:
        return self._call("Delete", request, DeleteResponse)

    async def update_lifecycle(self, request: UpdateLifecycleRequest) -> UpdateLifecycleResponse:
        return self._call("UpdateLifecycle", request, UpdateLifecycleResponse)

    async def list_page(self, request: ListRequest, *, deadline_s: float | None = None) -> ListResponse:
        return self._call("List", request, ListResponse, deadline_s)

    async def who_am_i(self, request: WhoAmIRequest) -> WhoAmIResponse:
        return self._call("WhoAmI", request, WhoAmIResponse)

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        return self._call("Explain", request, ExplainResponse)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: str, request: Request, answer: type[Answer], deadline_s: float | None = None) -> Answer:
        end_s = time.monotonic() + (self._timeout_s if deadline_s is None else deadline_s)
        unknown: RubeError | None = None
        for others_left in reversed(range(len(self._endpoints))):
            try:
                return self._in_turn(method, request, answer, end_s, is_last=not others_left)
            except RubeError as failure:
                self._rotate(failure)
                late = time.monotonic() >= end_s
                if not others_left or late or not may_repeat(request, failure):
                    told = outcome(request, failure, unknown)
                    if told is failure:
                        raise
                    raise told from failure
                if is_unknown(failure):
                    unknown = failure
        raise AssertionError("the last attempt returns or raises")

    def _in_turn(self, method: str, request: Request, answer: type[Answer], end_s: float, *, is_last: bool) -> Answer:
        """Makes an attempt, and a further one after the time that a busy server names, while there is time for it."""
        while True:
            try:
                return self._attempt(method, request, answer, end_s, is_last=is_last)
            except BusyError as error:
                retry_s = max(error.retry_after_s, BUSY_S_MIN)
                if time.monotonic() + retry_s >= end_s:
                    raise
                time.sleep(retry_s)

    def _attempt(self, method: str, request: Request, answer: type[Answer], end_s: float, *, is_last: bool) -> Answer:
        """Makes one attempt; unless it is the last one, it leaves time for another one if one may follow."""
        if self._connection is None or not self._connection.is_usable:
            self.close()
            connected_s = end_s if is_last else min(end_s, time.monotonic() + CONNECT_S_MAX)
            self._connection = UnaryConnection(self._endpoints[self._current], connected_s, self._tls)
        if not is_last and may_repeat(request, DeadlineExceededError("in prospect")):
            now_s = time.monotonic()
            end_s = min(now_s + (end_s - now_s) / 2, now_s + self._config.attempt_s_max)
        encoded = self._connection.call(
            _SERVICES.get(type(request), "/api.Api/") + method, request.SerializeToString(), end_s
        )
        try:
            return answer.FromString(encoded)
        except DecodeError as error:
            raise UnavailableError(f"the answer of {self._endpoints[self._current]} does not parse: {error}") from error

    def _rotate(self, failure: RubeError) -> None:
        if isinstance(failure, (UnavailableError, DeadlineExceededError)):
            self.close()
            self._current = (self._current + 1) % len(self._endpoints)
