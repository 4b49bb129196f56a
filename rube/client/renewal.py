"""The renewal of a process's own certificate, at about half of its life, by the host's clock.

It asks without showing a certificate, in the same way whether the present one has lapsed or not: the request is signed
by its key. Nothing waits for it: whatever happens, the files stay as they are, and it asks again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from grpc import aio

from rube.api import CertificatesAsyncStub, CertificatesStub, IssuedCertificate, RenewalRequest
from rube.api.errors import RubeError, UnavailableError
from rube.api.times import NS_PER_S
from rube.client.failure_log import FailureLog
from rube.host import ChannelTls, Host
from rube.transport import connect, rube_error
from rube.trust.ports import Keyring

_LOG = logging.getLogger("rube.security")
JITTER = 0.1
"""Renewals are spread over this part of a certificate's life around its middle."""
LOOK_S_MAX = 6 * 3600.0
"""The clock is read at least so often: it may have been set."""
RETRY_S_MIN, RETRY_S_MAX = 0.25, 60.0
CALL_S_MAX = 5.0

Renew = Callable[[RenewalRequest], Awaitable[IssuedCertificate]]


class Renewal:
    """Keeps one certificate valid. `run` it beside the daemon."""

    def __init__(
        self,
        host: Host,
        keyring: Keyring,
        renew: Renew,
        instance_id: Callable[[], str] = str,
        retry_s_max: float = RETRY_S_MAX,
    ) -> None:
        """`instance_id` returns that of the node; "" for other processes."""
        self._clock = host.clock
        self._keyring = keyring
        self._renew = renew
        self._instance_id = instance_id
        self._retry_s_max = retry_s_max
        self._stream = host.random.stream("renewal")
        self._failures = FailureLog(_LOG, "renewal of this process's certificate")

    async def run(self) -> None:
        """Renews until cancelled. Raises nothing but cancellation."""
        retry_s = RETRY_S_MIN
        shift = self._shift()
        while True:
            left_s = LOOK_S_MAX
            try:
                left_s = self._left_s(shift)
                if left_s <= 0:
                    await self.renew_now()
                    self._failures.works()
                    retry_s, shift = RETRY_S_MIN, self._shift()
                    continue
            except RubeError as error:
                self._failures.failed(error.message)
                left_s = retry_s * (0.5 + self._stream.random())
                retry_s = min(2 * retry_s, self._retry_s_max)
            except Exception:
                _LOG.exception("the certificate cannot be renewed: trying again")
                left_s = self._retry_s_max
            await self._clock.sleep(min(left_s, LOOK_S_MAX))

    async def renew_now(self) -> None:
        """Renews once. Raises a RubeError."""
        certificate, _, end_ns = self._keyring.present()
        request = RenewalRequest(certificate=certificate, csr=self._keyring.request(), instance_id=self._instance_id())
        had_lapsed = end_ns < self._clock.now_ns()
        self._keyring.install(await self._renew(request))
        _LOG.info("the certificate is renewed%s", ", after it had lapsed" if had_lapsed else "")

    def _left_s(self, shift: float) -> float:
        _, begin_ns, end_ns = self._keyring.present()
        at_ns = begin_ns + (end_ns - begin_ns) * (0.5 + shift)
        return (at_ns - self._clock.now_ns()) / NS_PER_S

    def _shift(self) -> float:
        return JITTER * (self._stream.random() - 0.5)


def renew_by(host: Host, servers: Sequence[str], ca: str) -> Renew:
    """Returns what asks the first of the servers that answers, known by the CAs in that file, and shows it no
    certificate."""

    async def renew(request: RenewalRequest) -> IssuedCertificate:
        failure: RubeError = UnavailableError("there is no server to ask for a certificate")
        for target in servers:
            async with host.network.channel(target, tls=ChannelTls(ca=ca)) as channel:
                try:
                    await connect(channel, target, host.clock, CALL_S_MAX)
                    stub: CertificatesAsyncStub = CertificatesStub(channel)
                    answer: IssuedCertificate = await stub.Renew(request, timeout=CALL_S_MAX)
                    return answer
                except RubeError as error:
                    failure = error
                except aio.AioRpcError as error:
                    failure = rube_error(error)
        raise failure

    return renew
