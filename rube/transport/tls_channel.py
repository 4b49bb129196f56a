"""A channel over TLS on gRPC's core, whose next connection uses the files as they are then.

gRPC's core keeps the files' contents of the moment in which its channel was made. So the channel of this module makes a
new one when it has no connection and the files have changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from grpc import ChannelConnectivity, aio

from rube.api.errors import InvalidArgumentError
from rube.host import ChannelTls
from rube.transport.options import CoreOptions
from rube.transport.tls import channel_credentials, channel_paths, stamp
from rube.transport.tls_probe import explain

PROBE_S_MAX = 1.0


class TlsChannel(aio.Channel):
    """A channel with mutual TLS to one address."""

    def __init__(
        self, target: str, tls: ChannelTls, options: CoreOptions, interceptors: Sequence[aio.ClientInterceptor]
    ) -> None:
        """Raises InvalidArgumentError for unusable files."""
        self._target = target
        self._tls = tls
        self._options = options
        self._interceptors = list(interceptors)
        self._stamp = stamp(channel_paths(tls))
        self._inner = self._made()
        self._before: aio.Channel | None = None
        """The one before: calls may still run on its last connection."""
        self._closed = False

    @property
    def inner(self) -> aio.Channel:
        """The channel for the next call."""
        if self._inner.get_state() is not ChannelConnectivity.READY and not self._closed:
            self._renew()
        return self._inner

    async def explain(self) -> str:
        """Returns why no connection comes about, and what to do; "" if it is not TLS."""
        try:
            return await asyncio.to_thread(explain, self._target, self._tls, PROBE_S_MAX)
        except OSError:
            return ""

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._method("unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._method("unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        return self._method("stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        return self._method("stream_stream", args, kwargs)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        return self.inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.inner.channel_ready()

    async def close(self, grace: float | None = None) -> None:
        self._closed = True
        if self._before is not None:
            await self._before.close(grace)
        await self._inner.close(grace)

    async def __aenter__(self) -> TlsChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _method(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[..., Any]:
        """Returns the method's calls: each on the channel of its time."""
        made: aio.Channel | None = None
        method: Any = None

        def call(*call_args: Any, **call_kwargs: Any) -> Any:
            nonlocal made, method
            inner = self.inner
            if inner is not made:
                made, method = inner, getattr(inner, kind)(*args, **kwargs)
            return method(*call_args, **call_kwargs)

        return call

    def _made(self) -> aio.Channel:
        credentials = channel_credentials(self._tls)
        return aio.secure_channel(self._target, credentials, options=self._options, interceptors=self._interceptors)

    def _renew(self) -> None:
        """Takes changed files, once they belong together: while one of a pair is new, the old ones stay."""
        now = stamp(channel_paths(self._tls))
        if now == self._stamp:
            return
        try:
            made = self._made()
        except InvalidArgumentError:
            return
        self._stamp, self._before, self._inner = now, self._inner, made
