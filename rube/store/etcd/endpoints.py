"""The members of an etcd cluster as their client sees them: a channel for each, and the one in use."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import aio

from rube.host import Clock, Network
from rube.host.network import NO_TLS, ChannelTls
from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd import rpc_pb2_grpc
from rube.transport import connect

WatchStream = aio.StreamStreamCall[rpc.WatchRequest, rpc.WatchResponse]


class Endpoint:
    """One member. Its channel connects when the member is first used."""

    def __init__(self, channel: aio.Channel, target: str) -> None:
        self.target = target
        self.channel = channel
        self.kv = rpc_pb2_grpc.KVStub(channel)
        self.watch = rpc_pb2_grpc.WatchStub(channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(channel)
        self.auth = rpc_pb2_grpc.AuthStub(channel)
        # Streams that end when the client turns to another member: a member that answers no calls delivers no events
        # either.
        self.streams: dict[WatchStream, None] = {}

    async def connect(self, clock: Clock, timeout_s: float) -> None:
        """Returns once there is a connection: begin the call before the next await. Raises NotSentError; does not wait
        if the last attempt has failed and the next one is not due."""
        await connect(self.channel, self.target, clock, timeout_s)

    def end_streams(self) -> None:
        for stream in list(self.streams):
            stream.cancel()


class Endpoints:
    """All members that the URL names. Calls go to one until it fails them, then to the next."""

    def __init__(self, network: Network, targets: Sequence[str], tls: ChannelTls | None) -> None:
        self.all = [Endpoint(network.channel(target, tls=tls or NO_TLS), target) for target in targets]
        self._current = 0

    @property
    def current(self) -> Endpoint:
        return self.all[self._current]

    def leave(self, endpoint: Endpoint) -> None:
        """Turns to the next member, if that one is still in use."""
        if endpoint is self.current:
            self._current = (self._current + 1) % len(self.all)
            endpoint.end_streams()

    async def close(self, grace_s: float) -> None:
        for endpoint in self.all:
            endpoint.end_streams()
        for endpoint in self.all:
            await endpoint.channel.close(grace_s)
