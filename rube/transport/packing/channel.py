"""The client's side of packed messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpc import ChannelConnectivity, aio

from rube.host.network import MESSAGE_BYTES_MAX
from rube.transport.packing.codec import Packer
from rube.transport.packing.form import ASKED_KEY, MARK, NAME, PACKED_BYTES_MIN

PREFIX = "/api."
"""The beginning of the methods that Rube's own servers serve to clients."""
_ASKED = ((ASKED_KEY, NAME),)

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]


class PackingChannel(aio.Channel):
    """A channel whose unary requests and whose responses are packed, once they are large and their server can.

    A server shows that it can by the first packed response; a connection that is lost may come back to another server.
    Methods without serializers, and those of other services, stay as they are.
    """

    def __init__(self, inner: aio.Channel, prefix: str = PREFIX) -> None:
        """`prefix`: of the methods whose server packs, if any does."""
        self._inner: Any = inner
        self._prefix = prefix
        self._packer = Packer()
        self._server_unpacks = False

    def __getattr__(self, name: str) -> Any:
        """Returns what the channel beneath has beside gRPC's methods, such as `explain` of one with TLS."""
        return getattr(self._inner, name)

    async def __aenter__(self) -> PackingChannel:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._inner.__aexit__(*error)

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> ChannelConnectivity:
        state: ChannelConnectivity = self._inner.get_state(try_to_connect)
        if state is not ChannelConnectivity.READY:
            self._server_unpacks = False
        return state

    async def wait_for_state_change(self, last_observed_state: ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        *rest: Any,
        **more: Any,
    ) -> Any:
        if request_serializer is not None and method.startswith(self._prefix):
            request_serializer = self._packing(request_serializer)
        return self._asking("unary_unary", method, request_serializer, response_deserializer, *rest, **more)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        *rest: Any,
        **more: Any,
    ) -> Any:
        return self._asking("unary_stream", method, request_serializer, response_deserializer, *rest, **more)

    def stream_unary(self, *given: Any, **more: Any) -> Any:
        return self._inner.stream_unary(*given, **more)

    def stream_stream(self, *given: Any, **more: Any) -> Any:
        return self._inner.stream_stream(*given, **more)

    def _asking(
        self,
        kind: str,
        method: str,
        serializer: Serializer | None,
        deserializer: Deserializer | None,
        *rest: Any,
        **more: Any,
    ) -> Any:
        make = getattr(self._inner, kind)
        if deserializer is None or not method.startswith(self._prefix):
            return make(method, serializer, deserializer, *rest, **more)
        return _Asking(make(method, serializer, self._unpacking(deserializer), *rest, **more))

    def _packing(self, serializer: Serializer) -> Serializer:
        def serialize(request: Any) -> bytes:
            data = serializer(request)
            return self._packer.pack(data) if self._server_unpacks and len(data) >= PACKED_BYTES_MIN else data

        return serialize

    def _unpacking(self, deserializer: Deserializer) -> Deserializer:
        def deserialize(data: bytes) -> Any:
            if data[:1] == MARK:
                data = self._packer.unpack(data, MESSAGE_BYTES_MAX)
                self._server_unpacks = True
            return deserializer(data)

        return deserialize


class _Asking:
    """A method whose calls ask for packed responses."""

    __slots__ = ("_inner",)

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, request: Any, *, metadata: Any = None, **options: Any) -> Any:
        asked = _ASKED if metadata is None else (*metadata, *_ASKED)
        return self._inner(request, metadata=asked, **options)
