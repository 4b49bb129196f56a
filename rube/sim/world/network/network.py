"""The Network port of one simulated host."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import aio

from rube.api.addresses import ANY_HOSTS, check_host_port, is_loopback
from rube.host import ChannelTls, ServerOptions
from rube.host.network import NoTls, chosen_tls
from rube.sim.world.kernel import HostStateError, SimProcess, current_process
from rube.sim.world.network.channel import SimChannel, SimTlsChannel
from rube.sim.world.network.fabric import HostRef, SimFabric
from rube.sim.world.network.server import SimServer
from rube.sim.world.network.tap import Tap
from rube.transport import ChannelOptions, LevelServer


class SimNetwork:
    """A host's network (rube.host.Network). A channel or server belongs to the process whose code makes it."""

    def __init__(
        self,
        fabric: SimFabric,
        host: HostRef,
        *,
        channel_options: ChannelOptions | None = None,
        tap: Tap | None = None,
        tls: ChannelTls | None = None,
    ) -> None:
        """`host`: a host of the fabric's world, or the world's observer. `tap` observes the calls made from it. `tls`:
        its identity, of files that `fabric.tls_files(host)` has."""
        self._fabric = fabric
        self._tls = tls
        self._tap = tap
        self._host = fabric.host(host)
        self._channel_options = channel_options or ChannelOptions()

    @property
    def tls(self) -> ChannelTls | None:
        return self._tls

    def server(self, options: ServerOptions | None = None) -> aio.Server:
        options = options or ServerOptions()
        inner = SimServer(self._fabric, self._process(), options)
        return LevelServer(inner, inner.add_port, options)

    def channel(
        self,
        target: str,
        *,
        interceptors: Sequence[aio.ClientInterceptor] = (),
        tls: ChannelTls | NoTls | None = None,
    ) -> aio.Channel:
        """A channel to `host:port` (a simulated host's name, or localhost) or `unix:/path` on this host."""
        used = chosen_tls(self, target, tls)
        host, address = _parse(target)
        options, own = self._channel_options, self._host.name
        made = (self._fabric, self._process(), target, host or own, address, options, interceptors, self._tap)
        if used is None:
            return SimChannel(*made)
        return SimTlsChannel(self._fabric.tls_files(self._host), used, *made)

    def _process(self) -> SimProcess:
        process = current_process()
        process.check_alive()
        if process.host is not self._host:
            raise HostStateError(f"{process} uses the network of host {self._host.name}: take its own host's")
        return process


def _parse(target: str) -> tuple[str, str]:
    """The host's name ("" for this one) and the address on it."""
    if target.startswith("unix:"):
        return "", target
    host, port = check_host_port(target)
    return ("" if is_loopback(host) or host in ANY_HOSTS else host), str(port)
