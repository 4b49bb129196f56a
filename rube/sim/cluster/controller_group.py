"""`rube controller --replicas` on a simulated host: one process of the group, without a disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from rube.api.errors import DataLossError, RubeError
from rube.client import Client
from rube.controllers.cluster.controllers import ClusterControllersConfig
from rube.controllers.contract import Controller
from rube.controllers.replicated import ReplicatedConfig, ReplicatedControllers
from rube.group import MemberConfig, MemberObserver
from rube.host import Engine, Host
from rube.sim.cluster.daemons import Recorder
from rube.store.engines.memory import MemoryEngine, VolatileDisk

_LOG = logging.getLogger("rube.sim")

PORT = 7825


class Forgetful:
    """`rube.host.Storage` whose engines lose all data with their process, under any URL."""

    async def open(self, url: str, *, read_only: bool = False) -> Engine:
        return await MemoryEngine.open(VolatileDisk(), url)


class ControllerMemberProgram:
    """One of `names`, with the built-in controllers and `controllers`."""

    def __init__(
        self,
        ports: Host,
        names: Sequence[str],
        servers: Callable[[], Sequence[str]],
        recorder: Recorder,
        controllers: Sequence[Controller],
        observer: MemberObserver,
    ) -> None:
        """`servers` are asked for at each start."""
        self._ports = replace(ports, storage=Forgetful())
        self._servers = servers
        self._recorder = recorder
        name = ports.name
        self._config = ReplicatedConfig(
            member=MemberConfig(
                name=name,
                listen=f"0.0.0.0:{PORT}",
                address=f"{name}:{PORT}",
                members=tuple((one, f"{one}:{PORT}") for one in names),
                volatile=True,
                observer=observer,
            ),
            controllers=ClusterControllersConfig(
                strict=True,
                extra=controllers,
                observer=recorder.decisions(name, controllers, one_process=False),
                refusals=recorder.refusals(name),
            ),
        )

    async def main(self) -> None:
        """Runs until cancelled. Ends, as the program does, if the group refuses it."""
        async with Client(self._ports, self._servers()) as client:
            try:
                await ReplicatedControllers(self._ports, client, self._config).run()
            except DataLossError as lost:
                self._recorder.loss(self._ports.name, lost)
            except RubeError as error:
                _LOG.error("%s ends: %s", self._ports.name, error.message)
