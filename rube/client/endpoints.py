"""The servers of a client, and the current one."""

from __future__ import annotations

from collections.abc import Sequence

from grpc import aio

from rube.api import ApiAsyncStub, ApiStub
from rube.api.errors import InvalidArgumentError
from rube.host import Clock, Network
from rube.transport import connect


class Endpoints:
    """The servers' channels, each made when it is first used, and kept."""

    def __init__(self, network: Network, targets: Sequence[str]) -> None:
        if not targets:
            raise InvalidArgumentError("a client needs an endpoint, such as 127.0.0.1:7823", field="endpoints")
        self._network = network
        self._targets = tuple(targets)
        self._current = 0
        self._channels: dict[str, aio.Channel] = {}
        self._stubs: dict[str, ApiAsyncStub] = {}

    @property
    def count(self) -> int:
        return len(self._targets)

    @property
    def current(self) -> str:
        """The target that calls go to now."""
        return self._targets[self._current]

    async def connected_stub(self, clock: Clock, timeout_s: float) -> ApiAsyncStub:
        """Returns the current target's stub once there is a connection: begin the call before the next await.

        Raises NotSentError.
        """
        target = self.current
        channel = await self.connected_channel(clock, timeout_s)
        stub = self._stubs.get(target)
        if stub is None:
            stub = self._stubs[target] = ApiStub(channel)
        return stub

    async def connected_channel(self, clock: Clock, timeout_s: float) -> aio.Channel:
        """Returns the current target's channel; as `connected_stub`."""
        target = self.current
        channel = self._channels.get(target)
        if channel is None:
            channel = self._channels[target] = self._network.channel(target)
        await connect(channel, target, clock, timeout_s)
        return channel

    def rotate(self, failed: str) -> None:
        """Moves on to the next target, unless another call has moved on from `failed` already."""
        if self.current == failed:
            self._current = (self._current + 1) % len(self._targets)

    async def close(self) -> None:
        channels, self._channels = self._channels, {}
        self._stubs.clear()
        for channel in channels.values():
            await channel.close(None)
