"""The apiserver's lifecycle: bind, serve, compact, stop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from grpc import aio

from rube import api_pb2
from rube.api import (
    add_ApiServicer_to_server,
    add_CertificatesServicer_to_server,
    add_NodesServicer_to_server,
    add_RightsServicer_to_server,
    auth_pb2,
    nodes_pb2,
)
from rube.api.errors import RubeError
from rube.api.well_known import REVOCATION_TYPE, TOKEN_TYPE
from rube.host import Host, Network
from rube.host.network import listen
from rube.server.attachments import Attachments
from rube.server.audit.recording import Recorder
from rube.server.certificates import OPEN_METHODS, CertificatesService, token_violations
from rube.server.compaction import compact_periodically
from rube.server.config import ApiServerConfig
from rube.server.entrance.entrance import Entrance
from rube.server.entrance.fairness import Fairness
from rube.server.first_answers import forget_periodically
from rube.server.known_types import KnownTypes
from rube.server.namespaces import Namespaces
from rube.server.nodes import NodesService
from rube.server.revocations import Revocations, revocation_violations
from rube.server.rights.checks import RIGHTS_CHECKS
from rube.server.rights.gate import Gate
from rube.server.rights.kept import KeptPolicy
from rube.server.rights.service import RightsService
from rube.server.rights.subjects import RightsConfig
from rube.server.service import ApiService
from rube.store import Store
from rube.store.guard import GuardedStore
from rube.transport import StandardServices, add_standard_services

_LOG = logging.getLogger("rube.server")
DRAIN_S = 0.1
"""A stopping server tells callers so for so long: gRPC cancels, without an error text, calls that meet its own end."""
_TRUST_CHECKS = {TOKEN_TYPE: token_violations, REVOCATION_TYPE: revocation_violations}
_SERVICES = (
    api_pb2.DESCRIPTOR.services_by_name["Api"].full_name,
    nodes_pb2.DESCRIPTOR.services_by_name["Nodes"].full_name,
    auth_pb2.DESCRIPTOR.services_by_name["Rights"].full_name,
    auth_pb2.DESCRIPTOR.services_by_name["Certificates"].full_name,
)


class ApiServer:
    """Serves api.Api over a store, with health and reflection.

    The caller keeps the store: close it after `stop`. Several apiservers may serve one store that allows it (etcd).
    """

    def __init__(self, host: Host, store: Store, config: ApiServerConfig | None = None) -> None:
        self._host = host
        self._store = GuardedStore(store, self._refuse_health)
        self._config = config or ApiServerConfig()
        self._config = replace(self._config, spec_checks={**self._config.spec_checks, **RIGHTS_CHECKS, **_TRUST_CHECKS})
        attachments = Attachments(
            host.clock, node_answers_max=self._config.node_answers_max, answers_max=self._config.answers_max
        )
        self._types = KnownTypes(self._store, host.clock)
        self._rights = KeptPolicy(self._store, host.clock)
        enforced = self._config.rights
        gate = None
        if enforced is not None:
            gate = Gate(self._rights, self._store, lambda: self._types.now.types)
        self._audit = self._config.audit
        self._fairness = Fairness(host.clock, self._config.fairness)
        recorder = None if self._audit is None else Recorder(self._audit, host.clock)
        identified = (enforced or RightsConfig()).identified
        self._entrance = Entrance(identified, self._fairness, recorder)
        self._revocations = Revocations(self._store, host.clock, self._config.begin_of)
        self._rights_service = RightsService(gate, self._types, self._audit)
        self._namespaces = Namespaces(host.clock, self._store)
        self._service = ApiService(host, self._store, self._types, self._namespaces, self._config, attachments, gate)
        self._nodes = NodesService(self._store, attachments, gate)
        self._certificates = CertificatesService(
            self._config.certificates, self._store, self._service.writer, host.clock, self._revocations
        )
        self._server: aio.Server | None = None
        self._standard: StandardServices | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> tuple[str, ...]:
        """Returns the addresses that it answers on, with the chosen port where the configuration has 0.

        Raises FailedPreconditionError or InvalidArgumentError for an address that cannot be listened on.
        """
        assert self._server is None, "an apiserver starts once"
        options = replace(self._config.server_options, admission=self._revocations)
        server = self._host.network.server(options)
        add_ApiServicer_to_server(self._entrance.wrap(self._service), server)
        add_NodesServicer_to_server(self._entrance.wrap(self._nodes), server)
        add_RightsServicer_to_server(self._entrance.wrap(self._rights_service), server)
        add_CertificatesServicer_to_server(self._entrance.wrap(self._certificates), server)
        standard = await add_standard_services(server, _SERVICES, self._types.pools, self._gauges)
        try:
            if self._audit is not None:
                self._audit.open()
                self._tasks.append(asyncio.create_task(self._audit.run(), name="audit"))
            self._types.start(self._service.feed)
            if self._config.rights is not None:
                self._tasks.append(asyncio.create_task(self._rights.run(), name="rights"))
                await self._rights.loaded()
            open_methods = () if self._config.certificates is None else OPEN_METHODS
            addresses = tuple(
                bind(server, address, self._host.network, open_methods) for address in self._config.listen
            )
            await server.start()
        except BaseException:
            for task in self._tasks:
                task.cancel()
            await self._types.stop()
            await server.stop(None)
            raise
        await standard.set_serving(True)
        self._server, self._standard = server, standard
        self._tasks.append(asyncio.create_task(self._revocations.run(self._service.feed), name="revocations"))
        self._tasks.append(asyncio.create_task(self._namespaces.run(self._service.feed), name="namespaces"))
        self._tasks.append(asyncio.create_task(self._service.renewals.run(), name="renewals"))
        forgetting = forget_periodically(self._host.clock, self._store)
        self._tasks.append(asyncio.create_task(forgetting, name="first answers"))
        if self._config.history_revisions_max:
            compaction = compact_periodically(
                self._host.clock,
                self._store,
                history_revisions_max=self._config.history_revisions_max,
                interval_s=self._config.compaction_interval_s,
            )
            self._tasks.append(asyncio.create_task(compaction, name="compaction"))
        _LOG.info("serving store %s at revision %d", self._store.store_id, self._store.revision)
        return addresses

    async def failed(self) -> RubeError:
        """Waits until the store has failed. The server's health is NOT_SERVING then; the owner should stop it."""
        return await self._store.failed()

    async def stop(self, grace_s: float = 5.0) -> None:
        """Refuses new calls and ends watches with UNAVAILABLE, and lets other calls finish for `grace_s`."""
        if self._server is None or self._standard is None:
            return
        _LOG.info("stopping: watches end now, other calls get %g s", grace_s)
        await self._standard.shut_down()
        self._nodes.drain()
        self._service.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._host.clock.sleep(min(DRAIN_S, grace_s))
        await self._server.stop(grace_s)
        await self._service.close()
        await self._types.stop()

    def _gauges(self) -> dict[str, float]:
        audit = {} if self._audit is None else self._audit.gauges()
        return {"rube_store_revision": self._store.revision, **self._fairness.gauges(), **audit}

    async def _refuse_health(self) -> None:
        if self._standard is not None:
            await self._standard.shut_down()


def bind(server: aio.Server, address: str, network: Network, open_methods: tuple[str, ...] = ()) -> str:
    port = listen(server, address, network, open_methods)
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
