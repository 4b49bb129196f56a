"""The Network port over gRPC."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from grpc import aio

from rube.api.errors import InvalidArgumentError
from rube.host import ChannelTls, ServerOptions, ServerTls
from rube.host.network import NoTls, chosen_tls
from rube.transport.addresses import cannot_listen, check_address, is_this_machine, short_address
from rube.transport.options import ChannelOptions, channel_core_options, server_core_options

_LOG = logging.getLogger("rube.transport")
ServerKind = Literal["h2corn", "grpcio"]


class GrpcNetwork:
    """This machine's network (rube.host.Network): servers on h2corn, or on grpcio, whose calls cost several times as
    much."""

    def __init__(
        self,
        *,
        server_kind: ServerKind = "h2corn",
        channel_options: ChannelOptions | None = None,
        tls: ChannelTls | None = None,
    ) -> None:
        """`tls`: the identity that channels use and `rube.host.network.listen` takes."""
        self._tls = tls
        self._server_kind = server_kind
        channel_options = channel_options or ChannelOptions()
        self._channel_options = channel_core_options(channel_options)
        self._pack = channel_options.pack

    @property
    def tls(self) -> ChannelTls | None:
        return self._tls

    def server(self, options: ServerOptions | None = None) -> aio.Server:
        """Returns a server, without a port yet."""
        from rube.transport.servicer import LevelServer, check_interceptors  # a client needs none of it

        options = options or ServerOptions()
        check_interceptors(options.interceptors)
        inner: Any = self._inner(options)

        def bind(address: str, tls: ServerTls | None) -> int:
            address = short_address(address)
            check_address(address)
            try:
                port: int = inner.add_insecure_port(address) if tls is None else self._secured(inner, address, tls)
            except RuntimeError as error:
                raise cannot_listen(address, "it is in use, or not an address of this machine") from error
            return port

        return LevelServer(inner, bind, options)

    def channel(
        self,
        target: str,
        *,
        interceptors: Sequence[aio.ClientInterceptor] = (),
        tls: ChannelTls | NoTls | None = None,
    ) -> aio.Channel:
        """Returns a channel to `host:port` or `unix:/path`. Close it: `async with` or `close()`."""
        channel = self._plain_channel(target, interceptors, tls)
        if self._pack is False or (self._pack is None and is_this_machine(target)):
            return channel
        try:
            from rube.transport.packing.channel import PackingChannel
        except ModuleNotFoundError:
            if self._pack:
                raise
            return channel  # a plain installation, which ructl is enough for, has no zstandard
        return PackingChannel(channel)

    def _plain_channel(
        self, target: str, interceptors: Sequence[aio.ClientInterceptor], tls: ChannelTls | NoTls | None
    ) -> aio.Channel:
        target = short_address(target)
        used = chosen_tls(self, target, tls)
        if used is None:
            return aio.insecure_channel(target, options=self._channel_options, interceptors=list(interceptors))
        from rube.transport.tls_channel import TlsChannel

        return TlsChannel(target, used, self._channel_options, interceptors)

    def _secured(self, inner: Any, address: str, tls: ServerTls) -> int:
        if address.startswith("unix:"):
            raise InvalidArgumentError(f"a Unix socket takes no TLS: add {address} with add_insecure_port")
        if self._server_kind == "grpcio":
            from rube.transport.tls import server_credentials

            if tls.open_methods:
                _LOG.warning(
                    "machines cannot join at %s: grpcio's server takes no client without a certificate", address
                )
            return int(inner.add_secure_port(address, server_credentials(tls)))
        return int(inner.add_secure_port(address, tls))

    def _inner(self, options: ServerOptions) -> aio.Server:
        if self._server_kind == "h2corn":
            from rube.transport.h2 import H2Server

            return H2Server(options)
        return aio.server(interceptors=list(options.interceptors), options=server_core_options(options))
