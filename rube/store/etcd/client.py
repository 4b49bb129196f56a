"""Calls to an etcd cluster: the choice of the member, authentication, deadlines and retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from grpc import aio

from rube.api.errors import FailedPreconditionError, NotDoneError, NotSentError, RubeError, UnavailableError
from rube.host import Host
from rube.host.backoff import Backoff
from rube.host.network import ChannelTls
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.endpoints import Endpoint, Endpoints, WatchStream
from rube.store.etcd.errors import (
    AUTH_IS_OFF,
    has_stale_token,
    is_unknown,
    meaning_of,
    meaning_of_text,
    was_refused,
    will_pass_soon,
)
from rube.store.urls import StoreUrl

Request = TypeVar("Request")
Answer = TypeVar("Answer")
Method = Callable[[Endpoint], aio.UnaryUnaryMultiCallable[Request, Answer]]
Metadata = tuple[tuple[str, str], ...]

# With this metadata a member without a leader refuses at once instead of waiting for one.
_LEADER: Metadata = (("hasleader", "true"),)
CALL_TIMEOUT_S = 8.0
"""etcd itself gives up a write after 7 s (5 s and two elections); its error is worth waiting for. Callers mostly wait
for 10 s, and shall see that error."""
OPEN_TIMEOUT_S = 5.0
READ_ATTEMPT_S = 3.0
"""A read goes to the next member after so long."""
CONNECT_TIMEOUT_S = 2.0
# The pause between two attempts while no member takes a request.
PAUSE_S_MIN = 0.05
PAUSE_S_MAX = 0.5
TOKENS_MAX = 2
"""A call gets a new token at most so many times."""
CLOSE_GRACE_S = 5.0
VERSION_MIN = (3, 4)


class EtcdClient:
    """The calls of one user to one cluster. Every call demands a member that has a leader."""

    def __init__(self, host: Host, url: StoreUrl, password: str) -> None:
        self.url = url
        self.clock = host.clock
        self._password = password
        self._random = host.random.stream("store.etcd.retries")
        self._endpoints = Endpoints(host.network, url.servers, tls_of(url))
        self._token = ""
        self._renewing = asyncio.Lock()
        self._closed = False

    async def connect(self) -> None:
        """Raises UnavailableError if no member answers in time, FailedPreconditionError for wrong credentials or an
        etcd that is too old."""
        if self.url.user:
            await self._renew("")
        status = await self.status()
        version = tuple(int(part) for part in status.version.split(".")[:2] if part.isdigit())
        if version < VERSION_MIN:
            raise FailedPreconditionError(
                f"etcd of store {self.url} has version {status.version}: Rube needs "
                f"{'.'.join(map(str, VERSION_MIN))} or newer"
            )

    async def status(self) -> rpc.StatusResponse:
        """Returns the status of a member."""
        return await self.call(lambda member: member.maintenance.Status, rpc.StatusRequest(), timeout_s=OPEN_TIMEOUT_S)

    async def call(
        self,
        method: Method[Request, Answer],
        request: Request,
        *,
        writes: bool = False,
        timeout_s: float = CALL_TIMEOUT_S,
        with_token: bool = True,
    ) -> Answer:
        """Returns a member's answer. A read is tried on the other members too; a write only if it was certainly not
        carried out.

        Raises UnavailableError or DeadlineExceededError after so long, and NotDoneError if no attempt can have been
        carried out; the error of a write says if its outcome is unknown. aio.AioRpcError passes if etcd refuses the
        request.
        """
        deadline_ns = self.clock.monotonic_ns() + round(timeout_s * 1e9)
        tokens, tried, last, unknown = 0, 0, "", False
        backoff = self._backoff()
        while True:
            member, token = await self._member(deadline_ns, last, unknown=unknown)
            left_s = self._left_s(deadline_ns)
            timeout = left_s if writes else min(READ_ATTEMPT_S, left_s)
            try:
                metadata = self._metadata() if with_token else _LEADER
                return await method(member)(request, metadata=metadata, timeout=timeout)
            except aio.AioRpcError as error:
                last = f"{member.target}: {error.details() or error.code().name}"
                if with_token and has_stale_token(error) and self.url.user and tokens < TOKENS_MAX:
                    tokens += 1
                    await self._renew(token)
                    continue
                refused = was_refused(error)
                if not refused and not is_unknown(error):
                    raise
                waits = will_pass_soon(error)
                if not waits:
                    self._endpoints.leave(member)
                if writes and not refused:
                    raise meaning_of(error, self.url, member.target, writes=True) from error
                unknown = unknown or not refused
            tried += 1
            if waits or tried % len(self._endpoints.all) == 0:
                await self._pause(backoff.next_s(), deadline_ns)

    async def txn(self, request: rpc.TxnRequest, *, repeatable: bool) -> rpc.TxnResponse:
        """Returns the answer to a transaction. Raises etcd's refusal as a RubeError, and the errors of `call`.

        `repeatable`: carried out twice it does no harm, so it is sent again if the answer is lost.
        """
        try:
            return await self.call(lambda member: member.kv.Txn, request, writes=not repeatable)
        except aio.AioRpcError as error:
            raise self.meaning_of(error, writes=True) from error

    async def stream(self) -> tuple[Endpoint, WatchStream]:
        """Returns a stream for watches on the member in use. It ends when the client turns to another member."""
        deadline_ns = self.clock.monotonic_ns() + round(CALL_TIMEOUT_S * 1e9)
        member, _ = await self._member(deadline_ns, "")
        # The stubs' types demand an iterator of requests; gRPC takes requests by `write`, too.
        return member, member.watch.Watch(metadata=self._metadata())  # type: ignore[call-arg]

    def leave(self, member: Endpoint) -> None:
        """Turns to another member, since a stream on this one has failed."""
        self._endpoints.leave(member)

    def leave_current(self) -> None:
        self._endpoints.leave(self._endpoints.current)

    @property
    def members(self) -> list[Endpoint]:
        return self._endpoints.all

    async def ask(
        self, member: Endpoint, method: Method[Request, Answer], request: Request, timeout_s: float
    ) -> Answer:
        """Returns the answer of that member. Raises UnavailableError if it does not answer; aio.AioRpcError passes."""
        try:
            await member.connect(self.clock, CONNECT_TIMEOUT_S)
        except NotSentError as error:
            raise UnavailableError(
                f"etcd at {member.target} (store {self.url}) does not answer: {error.message}"
            ) from error
        return await method(member)(request, metadata=self._metadata(), timeout=timeout_s)

    def meaning_of(self, error: aio.AioRpcError, *, writes: bool = False) -> RubeError:
        return meaning_of(error, self.url, self._endpoints.current.target, writes=writes)

    def refusal(self, text: str) -> RubeError:
        """Returns the error for a watch that etcd cancelled with that text."""
        meaning = meaning_of_text(text.rpartition("desc = ")[2], self.url)
        return meaning or UnavailableError(f"etcd ended a watch of store {self.url}: {text}")

    def _backoff(self) -> Backoff:
        return Backoff(self._random, initial_s=PAUSE_S_MIN, max_s=PAUSE_S_MAX)

    def check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the store is closed")

    async def close(self) -> None:
        """Closes the channels; running calls have a grace period to end."""
        if not self._closed:
            self._closed = True
            await self._endpoints.close(CLOSE_GRACE_S)

    async def _member(self, deadline_ns: int, last: str, *, unknown: bool = False) -> tuple[Endpoint, str]:
        """Returns a connected member and the token for it. Begin the call before the next await.

        Raises NotDoneError if there is no such member by the deadline; UnavailableError if an earlier attempt may have
        been carried out (`unknown`).
        """
        backoff, trouble = self._backoff(), "no time was left"
        while True:
            for _ in self._endpoints.all:
                self.check_open()
                member = self._endpoints.current
                left_s = self._left_s(deadline_ns)
                if left_s > 0:
                    try:
                        await member.connect(self.clock, min(CONNECT_TIMEOUT_S, left_s))
                    except NotSentError as error:
                        trouble = f"{member.target}: {error.metadata['why']}"
                    else:
                        return member, self._token
                self._endpoints.leave(member)
            if self._left_s(deadline_ns) <= 0:
                last = last or trouble
                raise (UnavailableError if unknown else NotDoneError)(
                    f"no member of etcd answers at {', '.join(self.url.servers)} (store {self.url}; last: {last}): "
                    "check that it runs, and that the addresses and the TLS options are right"
                )
            await self._pause(backoff.next_s(), deadline_ns)

    async def _renew(self, stale: str) -> None:
        """Gets a new token, unless another call has done so meanwhile."""
        request = rpc.AuthenticateRequest(name=self.url.user, password=self._password)
        async with self._renewing:
            if self._token != stale:
                return
            try:
                answer = await self.call(
                    lambda member: member.auth.Authenticate, request, timeout_s=OPEN_TIMEOUT_S, with_token=False
                )
            except aio.AioRpcError as error:
                if error.details() == AUTH_IS_OFF:
                    return
                raise self.meaning_of(error) from error
            except NotDoneError as error:  # true of this call only: an earlier attempt may have been carried out
                raise UnavailableError(error.message, **error.metadata) from error
            self._token = answer.token

    def _metadata(self) -> Metadata:
        return (*_LEADER, ("token", self._token)) if self._token else _LEADER

    def _left_s(self, deadline_ns: int) -> float:
        return (deadline_ns - self.clock.monotonic_ns()) / 1e9

    async def _pause(self, pause_s: float, deadline_ns: int) -> None:
        await self.clock.sleep(max(0.0, min(pause_s, self._left_s(deadline_ns))))


def tls_of(url: StoreUrl) -> ChannelTls | None:
    """Returns the TLS options; None unless the URL asks for TLS or names a file of it."""
    ca, cert, key = url.option("ca"), url.option("cert"), url.option("key")
    if not (ca or cert or key or url.option("tls")):
        return None
    return ChannelTls(ca=ca, cert=cert, key=key)
