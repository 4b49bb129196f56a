"""A driver that starts nothing that the node's policy refuses, whatever was decided before the policy changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from google.protobuf.any_pb2 import Any

from rube.api import Action, LogsRequest, LogsResponse
from rube.api.errors import FailedPreconditionError
from rube.controllers.driver import Driver
from rube.units.drivers.actions import unpack_action
from rube.units.policy.gate import PolicyGate


class GuardedDriver:
    """rube.controllers.driver.Driver in front of another."""

    def __init__(self, driver: Driver, gate: PolicyGate) -> None:
        self._driver = driver
        self._gate = gate

    async def list(self) -> Sequence[str]:
        return await self._driver.list()

    async def observe(self, name: str) -> Any:
        return await self._driver.observe(name)

    async def apply(self, action: Action) -> bool:
        """Carries the action out. Raises FailedPreconditionError for a definition that the policy refuses."""
        wanted = unpack_action(action)
        if wanted.HasField("ensure") and (refusal := self._gate.refusal(wanted.ensure.spec)):
            raise FailedPreconditionError(refusal)
        return await self._driver.apply(action)

    def changes(self) -> AsyncIterator[str]:
        return self._driver.changes()

    def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        return self._driver.logs(name, request)

    async def close(self) -> None:
        await self._driver.close()
