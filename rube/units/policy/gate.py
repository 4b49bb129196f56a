"""The policy in effect on a node."""

from __future__ import annotations

import asyncio

from rube.api import NodePolicy, Unit
from rube.units.policy.accounts import UNPRIVILEGED, Accounts
from rube.units.policy.rules import refusals
from rube.units.validate import sentence


class PolicyGate:
    """Judges units by the newest policy. One reader waits for `changed`."""

    def __init__(
        self, policy: NodePolicy | None = None, *, accounts: Accounts = UNPRIVILEGED, source: str = "the default policy"
    ) -> None:
        """`source` names the policy in what is said of refused units."""
        self._policy = policy or NodePolicy()
        self._accounts = accounts
        self._source = source
        self._changed = asyncio.Event()
        self.problem = ""
        """Why the policy in effect is not what its file says now; empty if it is."""

    @property
    def policy(self) -> NodePolicy:
        return self._policy

    def set(self, policy: NodePolicy, source: str) -> None:
        """Puts a policy into effect for every unit of the node, running ones too."""
        self.problem = ""
        if policy != self._policy or source != self._source:
            self._policy, self._source = policy, source
            self._changed.set()

    async def changed(self) -> None:
        """Returns when a policy was set since the last call returned."""
        await self._changed.wait()
        self._changed.clear()

    def refusal(self, unit: Unit) -> str:
        """Returns why this node does not run the unit, as a sentence; empty if it may."""
        found = sentence(refusals(self._policy, self._accounts, unit))
        return f"refused by this node ({self._source}): {found}" if found else ""
