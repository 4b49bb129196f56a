"""The services every server of Rube offers beside its own: grpc.health.v1 and reflection.

Their packages are imported when they are first served: a client, which needs none of this, starts faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grpc import aio


class StandardServices:
    """The health that a server reports: for "" (the whole server) and for each service by name."""

    def __init__(self, servicer: Any, service_names: Sequence[str]) -> None:
        self._servicer = servicer
        self._names = ("", *service_names)

    async def set_serving(self, serving: bool) -> None:
        """Report SERVING or NOT_SERVING from now on; those who watch the health are told."""
        from grpc_health.v1 import health_pb2

        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)

    async def shut_down(self) -> None:
        """Report NOT_SERVING for good: call it before `server.stop`."""
        await self._servicer.enter_graceful_shutdown()


async def add_standard_services(server: aio.Server, service_names: Sequence[str]) -> StandardServices:
    """Serve health and reflection for `service_names` (`api.Api`). They begin as NOT_SERVING.

    Call it before `server.start()`.
    """
    from grpc_health.v1 import health, health_pb2_grpc
    from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

    servicer: Any = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack `aio`
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflected = (*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflector: Any = reflection.aio.ReflectionServicer(reflected)  # type: ignore[attr-defined]  # as above
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflector, server)
    services = StandardServices(servicer, service_names)
    await services.set_serving(False)
    return services
