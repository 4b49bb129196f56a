"""A relay's lifecycle: bind, serve, copy, stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio

from rube import api_pb2
from rube.api import add_ApiServicer_to_server, add_NodesServicer_to_server, nodes_pb2
from rube.api.times import NS_PER_S
from rube.host import Host
from rube.server.apiserver import DRAIN_S, bind
from rube.server.relay.config import RelayConfig
from rube.server.relay.copy import Copy
from rube.server.relay.forwarding import Forwarder
from rube.server.relay.service import RelayNodesService, RelayService
from rube.server.relay.upstream import Upstream
from rube.store.embedded.replica import ReplicaStore
from rube.transport import StandardServices, add_standard_services

_LOG = logging.getLogger("rube.relay")
_SERVICES = (
    api_pb2.DESCRIPTOR.services_by_name["Api"].full_name,
    nodes_pb2.DESCRIPTOR.services_by_name["Nodes"].full_name,
)


class Relay:
    """Serves api.Api from a copy of the objects of the apiservers behind it, with health and reflection.

    Its health is NOT_SERVING while it has no copy; writes are handed on all the same.
    """

    def __init__(self, host: Host, config: RelayConfig) -> None:
        self._host = host
        self._config = config
        self._upstream = Upstream(host, config, self._change)
        self._forwarder = Forwarder(host, config.upstream, config.connect_s_max)
        self._service = RelayService(self._upstream, self._forwarder)
        self._nodes = RelayNodesService(self._forwarder)
        self._server: aio.Server | None = None
        self._standard: StandardServices | None = None
        self._following: asyncio.Task[None] | None = None
        self._copied = asyncio.Event()
        self.addresses: tuple[str, ...] = ()
        """The addresses that it answers on, once it has started."""

    async def start(self) -> tuple[str, ...]:
        """Returns the addresses that it answers on, as `rube.server.ApiServer.start`. The copy comes later."""
        assert self._server is None, "a relay starts once"
        options = self._config.server
        server = self._host.network.server(options.server_options)
        add_ApiServicer_to_server(self._service, server)
        add_NodesServicer_to_server(self._nodes, server)
        standard = await add_standard_services(server, _SERVICES, self._pools, self._gauges)
        try:
            addresses = tuple(bind(server, address, self._host.network) for address in options.listen)
            await server.start()
        except BaseException:
            await server.stop(None)
            raise
        self._server, self._standard, self.addresses = server, standard, addresses
        self._following = asyncio.create_task(self._upstream.run(), name="relay's upstream")
        return addresses

    async def copied(self) -> None:
        """Returns once there was a copy."""
        await self._copied.wait()

    async def run(self) -> None:
        """Returns when it is stopped. Raises what has ended the work at its copy, which nothing should."""
        assert self._following is not None, "it was started"
        await asyncio.wait([self._following])
        if not self._following.cancelled():
            self._following.result()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Refuses new calls and ends watches and what nodes hold open with UNAVAILABLE; other calls get `grace_s`."""
        if self._server is None or self._standard is None or self._following is None:
            return
        _LOG.info("stopping: watches end now, other calls get %g s", grace_s)
        await self._standard.shut_down()
        self._nodes.drain()
        self._service.drain()
        self._forwarder.stop()
        if self._service.copy is not None:
            self._service.copy.watches.stop()
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        await self._host.clock.sleep(min(DRAIN_S, grace_s))
        await self._server.stop(grace_s)
        if self._service.copy is not None:
            await self._service.copy.close()
        await self._upstream.close()
        await self._forwarder.close()

    async def _change(self, replica: ReplicaStore | None) -> None:
        """Serves from that copy from now on, or from none."""
        assert self._standard is not None, "it was started"
        former = self._service.copy
        self._service.copy = None if replica is None else Copy(self._host, replica, self._upstream, self._config)
        if former is not None:
            await former.close()
        await self._standard.set_serving(replica is not None)
        if replica is not None:
            self._copied.set()

    def _pools(self) -> Sequence[DescriptorPool]:
        return () if self._service.copy is None else self._service.copy.types.pools()

    def _gauges(self) -> dict[str, float]:
        copy = self._service.copy
        if copy is None:
            return {}
        age_s = self._upstream.freshness().age.ToNanoseconds() / NS_PER_S
        return {"rube_store_revision": copy.replica.revision, "rube_relay_age_seconds": age_s}
