"""The handshake of simulated TLS 1.3: hello; the server's certificate; the client's; the greeting or an alert."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rube.api.addresses import split_host_port
from rube.host import ChannelTls, ServerTls
from rube.sim.world.kernel import SimProcess
from rube.sim.world.network.frames import Frame, FrameKind
from rube.sim.world.network.tls import (
    HANDSHAKE_S,
    HELLO_BYTES,
    SimCertificate,
    TlsFiles,
    fault_of_client,
    fault_of_server,
)
from rube.transport.tls_faults import TlsFault

HELLO, CERTIFICATE, ALERT = "hello", "certificate", "alert"


class ClientHandshake:
    """The client's side of one connection; `failed` gets the reason."""

    def __init__(
        self,
        process: SimProcess,
        files: TlsFiles,
        tls: ChannelTls,
        target: str,
        send: Callable[[Frame], None],
        failed: Callable[[str], None],
    ) -> None:
        self._process = process
        self._name = split_host_port(target)[0]
        self._authorities = files.authorities(tls.ca) if tls.ca else ()
        self._certificate = files.certificate(tls.cert, tls.key) if tls.cert else None
        self._send = send
        self._failed = failed
        self._verified = False
        send(Frame(FrameKind.TLS, head=(HELLO,), data=bytes(HELLO_BYTES)))

    def received(self, frame: Frame) -> None:
        kind, value = frame.head
        if kind == CERTIFICATE:
            context = self._process.context
            self._process.loop.call_later(HANDSHAKE_S, self._verify, value, context=context)
        else:
            self._failed(TlsFault[str(value)].value)

    def greeted(self) -> bool:
        """Returns whether the server may greet now: one without TLS does so at once, and has failed."""
        if not self._verified:
            self._failed(TlsFault.PLAIN_SERVER.value)
        return self._verified

    def _verify(self, certificate: object) -> None:
        assert isinstance(certificate, SimCertificate), "as CERTIFICATE says"
        fault = fault_of_server(certificate, self._authorities, self._name, self._process)
        if fault is not None:
            self._failed(fault.value)
            return
        self._verified = True
        self._send(Frame(FrameKind.TLS, head=(CERTIFICATE, self._certificate)))


class ServerHandshake:
    """The server's side of one connection, which `done` may greet; after an alert `refused` closes it."""

    def __init__(
        self,
        process: SimProcess,
        files: TlsFiles,
        tls: ServerTls,
        send: Callable[[Frame], None],
        done: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        self._process = process
        self._authorities = files.authorities(tls.client_ca)
        self._open = bool(tls.open_methods)
        self._certificate = files.certificate(tls.cert, tls.key)
        self._send = send
        self._done = done
        self._refused = refused
        self._client: SimCertificate | None = None
        self.is_done = False

    def received(self, frame: Frame) -> None:
        if frame.head[0] == HELLO:
            self._later(self._show)
        else:
            self._later(self._verify, frame.head[1])

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        assert self.is_done, "a call comes after the handshake"
        return {"transport_security_type": (b"ssl",)} if self._client is None else self._client.auth_context()

    def _show(self) -> None:
        self._send(Frame(FrameKind.TLS, head=(CERTIFICATE, self._certificate), data=bytes(HELLO_BYTES)))

    def _verify(self, certificate: SimCertificate | None) -> None:
        is_stranger = certificate is None and self._open
        fault = None if is_stranger else fault_of_client(certificate, self._authorities, self._process)
        if fault is not None:
            self._send(Frame(FrameKind.TLS, head=(ALERT, fault.name)))
            self._refused()
            return
        self._client = certificate
        self.is_done = True
        self._done()

    def _later(self, step: Callable[..., None], *args: object) -> None:
        self._process.loop.call_later(HANDSHAKE_S, step, *args, context=self._process.context)
