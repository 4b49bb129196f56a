"""A hollow node: a real rubelet whose units are entries of a dict, and start and stop at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any

from rube.api import Action, LogsRequest, LogsResponse, Unit, UnitAction, UnitObservation, UnitStatus
from rube.host import Host
from rube.rubelet import Rubelet, RubeletConfig
from rube.units.drivers.actions import pack_observation, unpack_action
from rube.units.node_controller import unit_node_controller
from rube.units.render import digest_of

Applied = Callable[[str, UnitAction], None]
"""Called with the node and each action that it carries out."""


@dataclass(slots=True)
class _HollowUnit:
    """A unit as it was last asked for."""

    ensure: UnitAction.Ensure
    action_id: str
    running: bool = False
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        self.digest = digest_of(self.ensure.spec)


class HollowDriver:
    """rube.controllers.driver.Driver without a machine: everything succeeds at once, and nothing outlives it."""

    def __init__(self, node: str, applied: Applied) -> None:
        self._node = node
        self._applied = applied
        self._units: dict[str, _HollowUnit] = {}
        self._changed: asyncio.Queue[str] = asyncio.Queue()

    async def list(self) -> Sequence[str]:
        return sorted(self._units)

    async def observe(self, name: str) -> Any:
        unit = self._units.get(name)
        if unit is None:
            status = UnitStatus(load_state="not-found", active_state="inactive", sub_state="dead", node=self._node)
            return pack_observation(UnitObservation(status=status))
        status = UnitStatus(
            load_state="loaded",
            active_state="active" if unit.running else "inactive",
            sub_state="running" if unit.running else "dead",
            result="success",
            main_pid=1 if unit.running else 0,
            unit_file_state="enabled" if unit.ensure.spec.enabled else "disabled",
            observed_generation=unit.ensure.generation,
            node=self._node,
        )
        return pack_observation(
            UnitObservation(
                installed=True,
                uid=unit.ensure.uid,
                generation=unit.ensure.generation,
                digest=unit.digest,
                status=status,
                last_action_id=unit.action_id,
            )
        )

    async def apply(self, action: Action) -> bool:
        wanted = unpack_action(action)
        name = wanted.unit
        before = self._units.get(name)
        if before is not None and before.action_id == action.id:
            return False
        if wanted.HasField("remove"):
            self._units.pop(name, None)
        else:
            run = wanted.ensure.run
            keeps = before is not None and before.running
            running = keeps if run == UnitAction.Ensure.KEEP else run != UnitAction.Ensure.STOP
            self._units[name] = _HollowUnit(wanted.ensure, action.id, running)
        self._changed.put_nowait(name)
        self._applied(self._node, wanted)
        return False

    async def changes(self) -> AsyncIterator[str]:
        for name in sorted(self._units):
            yield name
        while True:
            yield await self._changed.get()

    async def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        yield LogsResponse()

    async def close(self) -> None:
        """Does nothing: there are no resources."""


def node_name(number: int) -> str:
    return f"hollow-{number}"


def hollow_rubelet(host: Host, node: str, server: str, applied: Applied) -> Rubelet:
    """Returns the rubelet of a hollow node, with its copy in memory."""
    config = RubeletConfig(node=node, servers=[server], data_url="memory:", boot_id="hollow")
    controller = unit_node_controller(
        node=node, boot_id=config.boot_id, driver=HollowDriver(node, applied), driver_name="hollow", clock=host.clock
    )
    return Rubelet(host, config, [controller])


def hollow_unit(number: int) -> Unit:
    """Returns the definition of a unit; another number is another definition."""
    unit = Unit(description=f"hollow, version {number}")
    unit.service.exec.start.append("/bin/sleep infinity")
    return unit
