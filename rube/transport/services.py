"""The services that every server of Rube offers beside its own: grpc.health.v1 and reflection, v1 and v1alpha.

Their packages are imported when they are first served: a client, which needs none of this, starts faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio

from rube.transport.servicer import LevelServer


class StandardServices:
    """The health that a server reports: for "" (the whole server) and for each service by name."""

    def __init__(self, servicer: Any, service_names: Sequence[str]) -> None:
        self._servicer = servicer
        self._names = ("", *service_names)
        self.is_serving = False
        """True if the whole server's health is SERVING."""

    async def set_serving(self, serving: bool) -> None:
        """Reports SERVING or NOT_SERVING from now on, also to watches of the health."""
        from grpc_health.v1 import health_pb2

        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        self.is_serving = serving
        for name in self._names:
            await self._servicer.set(name, status)

    async def shut_down(self) -> None:
        """Reports NOT_SERVING permanently: call it before `server.stop`."""
        self.is_serving = False
        await self._servicer.enter_graceful_shutdown()


async def add_standard_services(
    server: aio.Server,
    service_names: Sequence[str],
    pools: Callable[[], Iterable[DescriptorPool]] = tuple,
    gauges: Callable[[], Mapping[str, float]] = dict,
) -> StandardServices:
    """Serves health and reflection for `service_names` (`api.Api`). They begin as NOT_SERVING. `pools` returns the
    pools of descriptors that reflection and JSON show beside Python's own, `gauges` further values of the metrics.

    Call it before `server.start()`.
    """
    from grpc_health.v1 import health, health_pb2_grpc

    servicer = _health_servicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    from rube.transport.reflection import add_reflection  # for servers alone: clients start fast

    add_reflection(server, (*service_names, health.SERVICE_NAME), pools)
    services = StandardServices(servicer, service_names)
    await services.set_serving(False)
    if isinstance(server, LevelServer):
        server.describe(is_serving=lambda: services.is_serving, pools=pools, gauges=gauges)
    return services


def _health_servicer() -> Any:
    """grpcio-health-checking's servicer, which advertises `List` and leaves it out."""
    from grpc_health.v1 import health, health_pb2

    class Servicer(health.aio.HealthServicer):  # type: ignore[name-defined, misc]  # the stubs lack `aio`
        async def List(self, request: Any, context: Any) -> Any:
            statuses = {
                service: health_pb2.HealthCheckResponse(status=status)
                for service, status in sorted(self._server_status.items())
            }
            return health_pb2.HealthListResponse(statuses=statuses)

    return Servicer()
