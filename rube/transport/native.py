"""pygrpc-native's server, whose HTTP/2 runs in Rust outside the GIL; optional (`pip install 'rube[fast]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc import aio

from rube.api.errors import FailedPreconditionError
from rube.transport.options import CoreOptions


def native_server(options: CoreOptions, interceptors: Sequence[aio.ServerInterceptor[Any, Any]]) -> aio.Server:
    """A server of pygrpc-native; FailedPreconditionError if it is not installed."""
    try:
        import pygrpc_native.aio as native
    except ImportError as error:
        raise FailedPreconditionError(
            "the native gRPC server is not installed: pip install 'rube[fast]', or choose the server grpcio",
            extra="fast",
        ) from error
    server: aio.Server = native.Server(interceptors=list(interceptors), options=options)
    return server
