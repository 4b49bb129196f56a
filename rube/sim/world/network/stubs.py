"""The callables of generated stubs on a simulated channel: one per method, with the channel's interceptors before it.

The interceptors are run by grpc.aio's own classes, whose last step alone is replaced: it starts a simulated call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import grpc
from grpc import aio
from grpc.aio import _interceptor as intercepted  # the package exports only one of the four

from rube.sim.world.network.calls import (
    CallChannel,
    CallOptions,
    CallSpec,
    MetadataLike,
    Requests,
    SimCall,
    SimStreamStreamCall,
    SimStreamUnaryCall,
    SimUnaryStreamCall,
    SimUnaryUnaryCall,
)

INTERCEPTOR_KINDS = (
    aio.UnaryUnaryClientInterceptor,
    aio.UnaryStreamClientInterceptor,
    aio.StreamUnaryClientInterceptor,
    aio.StreamStreamClientInterceptor,
)


def _kind(interceptor: object) -> type:
    """The one kind of call that an interceptor is for: as in grpc.aio, the first of those it could be."""
    for kind in INTERCEPTOR_KINDS:
        if isinstance(interceptor, kind):
            return kind
    raise ValueError(f"{interceptor!r} is no client interceptor of grpc.aio")


class _Intercepted:
    """The last step of grpc.aio's interceptors: start a simulated call."""

    call_class: ClassVar[type[SimCall]]
    _channel: CallChannel

    async def _run_interceptor(
        self,
        interceptors: list[Any],
        method: bytes,
        serializer: Any,
        deserializer: Any,
        details: aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        if interceptors:
            run: Any = super()._run_interceptor  # type: ignore[misc]  # of the grpc.aio class beside this one
            return await run(interceptors, method, serializer, deserializer, details, request)
        path: str | bytes = details.method
        spec = CallSpec(path.decode() if isinstance(path, bytes) else path, serializer, deserializer)
        options = CallOptions(details.timeout, details.metadata, details.wait_for_ready)
        call = self.call_class.start(self._channel, spec, options, request)
        self._last_returned_call_from_interceptors = call
        return call


class _InterceptedUnaryUnary(_Intercepted, intercepted.InterceptedUnaryUnaryCall):  # type: ignore[misc]  # untyped
    call_class = SimUnaryUnaryCall


class _InterceptedUnaryStream(_Intercepted, intercepted.InterceptedUnaryStreamCall):  # type: ignore[misc]
    call_class = SimUnaryStreamCall


class _InterceptedStreamUnary(_Intercepted, intercepted.InterceptedStreamUnaryCall):  # type: ignore[misc]
    call_class = SimStreamUnaryCall


class _InterceptedStreamStream(_Intercepted, intercepted.InterceptedStreamStreamCall):  # type: ignore[misc]
    call_class = SimStreamStreamCall


class _MultiCallable:
    """A method of a stub."""

    interceptor_class: ClassVar[type]
    intercepted_class: ClassVar[Any]

    def __init__(self, channel: CallChannel, spec: CallSpec, interceptors: Sequence[Any]) -> None:
        self._channel = channel
        self._spec = spec
        self._interceptors = [one for one in interceptors if _kind(one) is self.interceptor_class]

    def _start(self, request: Any, options: CallOptions) -> Any:
        spec = self._spec
        if not self._interceptors:
            return self.intercepted_class.call_class.start(self._channel, spec, options, request)
        metadata = aio.Metadata.from_tuple(tuple(options.metadata or ()))
        return self.intercepted_class(
            self._interceptors,
            request,
            options.timeout,
            metadata,
            None,
            options.wait_for_ready,
            self._channel,
            spec.method.encode(),
            spec.serializer,
            spec.deserializer,
            self._channel.process.loop,
        )


class _UnaryRequest(_MultiCallable):
    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        return self._start(request, CallOptions(timeout, metadata, wait_for_ready))


class _StreamRequest(_MultiCallable):
    def __call__(
        self,
        request_iterator: Requests | None = None,
        timeout: float | None = None,
        metadata: MetadataLike = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
    ) -> Any:
        return self._start(request_iterator, CallOptions(timeout, metadata, wait_for_ready))


class UnaryUnaryMultiCallable(_UnaryRequest, aio.UnaryUnaryMultiCallable[Any, Any]):
    """A stub's unary method."""

    interceptor_class = aio.UnaryUnaryClientInterceptor
    intercepted_class = _InterceptedUnaryUnary


class UnaryStreamMultiCallable(_UnaryRequest, aio.UnaryStreamMultiCallable[Any, Any]):
    """A stub's server-streaming method."""

    interceptor_class = aio.UnaryStreamClientInterceptor
    intercepted_class = _InterceptedUnaryStream


class StreamUnaryMultiCallable(_StreamRequest, aio.StreamUnaryMultiCallable[Any, Any]):
    """A stub's client-streaming method."""

    interceptor_class = aio.StreamUnaryClientInterceptor
    intercepted_class = _InterceptedStreamUnary


class StreamStreamMultiCallable(_StreamRequest, aio.StreamStreamMultiCallable[Any, Any]):
    """A stub's bidirectional method."""

    interceptor_class = aio.StreamStreamClientInterceptor
    intercepted_class = _InterceptedStreamStream
