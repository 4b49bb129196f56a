"""The port to the network, in the shape of grpc.aio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:  # who only reads the limits below needs no gRPC
    from grpc import aio

MESSAGE_BYTES_MAX = 32 * 1024 * 1024
RESPONSE_BYTES_MAX = 3584 * 1024
"""Bytes below which responses that can be split stay: gRPC's clients take 4 MiB unless configured otherwise."""
CALLS_MAX = 100_000


class Admission(Protocol):
    """The callers that a server lets in, beyond what TLS has judged."""

    def refusal(self, context: Any) -> str:
        """Returns why the caller of a servicer context may not call, with the remedy; "" if it may. Cheap: it is asked
        at each call."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Calls `changed` when an answer may have become another: calls that run are judged again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The promises of a server to its clients. Times in seconds."""

    message_bytes_max: int = MESSAGE_BYTES_MAX
    calls_max: int = CALLS_MAX
    """Calls and watches that run at a time, on all connections; one more gets RESOURCE_EXHAUSTED at once."""
    keepalive_s: float = 10.0
    keepalive_timeout_s: float = 5.0
    interceptors: Sequence[aio.ServerInterceptor[Any, Any]] = ()
    admission: Admission | None = None
    """None: everyone who may connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTls:
    """TLS to a server. Paths of PEM files; "" for none. Each connection uses the files as they are when it begins."""

    ca: str = ""
    """The authorities that may certify the server; without any, those of gRPC."""
    # The client's certificate and key, for a server that asks; both or neither.
    cert: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """Mutual TLS of a server. Paths of PEM files. Connections that begin within seconds of a change use the changed
    files."""

    cert: str
    key: str
    client_ca: str
    """The authorities that may certify clients: a client without a certificate of theirs makes no call."""
    open_methods: tuple[str, ...] = ()
    """The methods, such as `/auth.Certificates/Join`, that clients without any certificate may call; every other one
    answers UNAUTHENTICATED to them. None: TLS itself refuses such clients, as grpcio's server does in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoTls:
    """A channel in plain text, also on a network that has an identity."""


NO_TLS: Final = NoTls()


class Network(Protocol):
    """Makes servers and channels that protoc's generated stubs and servicers use unchanged.

    Every adapter promises (tests/conformance/transport): messages of a call arrive in order. A call ends once, with a
    status. A lost connection ends its calls with UNAVAILABLE within keepalive and keepalive timeout; a deadline ends a
    call with DEADLINE_EXCEEDED. Cancelling the client's call cancels the handler's task. A slow reader stops the writer
    (bounded buffers). A write after the end of its call fails alike everywhere. Messages go up to `message_bytes_max`.
    A request that cannot be parsed is INVALID_ARGUMENT. `stop` of a server returns when its handlers have ended.

    TLS is mutual and 1.3. A handler finds its client's certificate in `context.auth_context()`, under gRPC's keys
    `x509_pem_cert`, `x509_subject` and `x509_subject_alternative_name` (rube.transport.peers). A connection that TLS
    refuses fails with UNAVAILABLE, and `rube.transport.connect` says why and what to do.
    """

    @property
    def tls(self) -> ChannelTls | None:
        """The identity of this network's user: channels use it, and `listen`. None for plain text."""
        ...

    def server(self, options: ServerOptions | None = None) -> aio.Server:
        """Returns a server to which generic handlers and ports are added: `add_insecure_port("127.0.0.1:0")` returns
        the port, and `add_secure_port("0.0.0.0:7823", ServerTls(...))` does so with TLS.

        Addresses: `host:port`, `unix:/path`.
        """
        ...

    def channel(
        self,
        target: str,
        *,
        interceptors: Sequence[aio.ClientInterceptor] = (),
        tls: ChannelTls | NoTls | None = None,
    ) -> aio.Channel:
        """Returns a channel that connects when needed and reconnects with bounded exponential backoff (at most 2 s).

        Without `tls` it uses the network's own; Unix sockets are always plain text. Raises InvalidArgumentError for
        unusable TLS files.
        """
        ...


def listen(server: aio.Server, address: str, network: Network, open_methods: tuple[str, ...] = ()) -> int:
    """Listens with the network's identity, if it has one, and returns the port. A Unix socket is plain text: the modes
    of its file guard it. Raises a RubeError."""
    if network.tls is None or address.startswith("unix:"):
        return server.add_insecure_port(address)
    tls = ServerTls(cert=network.tls.cert, key=network.tls.key, client_ca=network.tls.ca, open_methods=open_methods)
    return server.add_secure_port(address, tls)  # type: ignore[arg-type]  # what this port's servers take


def directory_tls(directory: str) -> ChannelTls:
    """Returns the files of an identity in a directory: ca.pem, cert.pem and key.pem."""
    return ChannelTls(ca=f"{directory}/ca.pem", cert=f"{directory}/cert.pem", key=f"{directory}/key.pem")


def chosen_tls(network: Network, target: str, tls: ChannelTls | NoTls | None) -> ChannelTls | None:
    """Returns what a channel to the target uses: for the adapters."""
    if isinstance(tls, NoTls) or target.startswith("unix:"):
        return None
    return tls or network.tls
