"""The identity of a data directory: an instance made once, of one node, on one machine."""

from __future__ import annotations

from typing import Literal

from rube.api import NodeIdentity
from rube.api.errors import FailedPreconditionError
from rube.host import Engine, Host, Write

_KEY = b"identity"
FORGET_ROWS_MAX = 1_000
"""Rows that one commit deletes."""

IdentityPolicy = Literal["keep", "adopt", "new"]
"""For a data directory of another machine: `keep` refuses it, `adopt` takes it over as it is (the other machine has
gone), `new` forgets who it was and what it had, so that this is a node of its own."""


class Identity:
    """The identity. `load` makes it on first use."""

    def __init__(self, engine: Engine, identity: NodeIdentity) -> None:
        self._engine = engine
        self._identity = identity

    @classmethod
    async def load(
        cls, engine: Engine, host: Host, node: str, *, machine_id: str = "", policy: IdentityPolicy = "keep"
    ) -> Identity:
        """Loads it. Raises FailedPreconditionError if the local store is of a node of another name, or of another
        machine."""
        raw = engine.get(_KEY)
        if policy == "new" and raw is not None:
            await _forget_everything(engine)
            raw = None
        if raw is None:
            fresh = NodeIdentity(node=node, instance_id=host.random.uid(), machine_id=machine_id)
            identity = cls(engine, fresh)
            await identity._save()
            return identity
        known = NodeIdentity.FromString(raw)
        if known.node != node:
            raise FailedPreconditionError(
                f"the data directory belongs to node {known.node!r}, not {node!r}: start with --node {known.node}, or "
                "with another --data",
                node=known.node,
            )
        identity = cls(engine, known)
        await identity._bind(machine_id, policy)
        return identity

    @property
    def instance_id(self) -> str:
        return self._identity.instance_id

    @property
    def registered(self) -> bool:
        """True if the node's name was ever this instance's."""
        return self._identity.registered

    async def save_registered(self) -> None:
        if not self._identity.registered:
            self._identity.registered = True
            await self._save()

    async def _bind(self, machine_id: str, policy: IdentityPolicy) -> None:
        """Binds the identity to this machine, or refuses to."""
        known = self._identity
        if not machine_id or known.machine_id == machine_id:
            return
        if known.machine_id and policy != "adopt":
            raise FailedPreconditionError(
                f"the data directory is of node {known.node!r} on another machine (machine-id {known.machine_id}; this "
                f"one is {machine_id}). Two machines with one identity would both run what is bound to it. If the "
                "other one no longer runs it, start once with --adopt; to make this a node of its own, start once with "
                "--new-identity and another --node",
                node=known.node,
            )
        known.machine_id = machine_id
        await self._save()

    async def _save(self) -> None:
        await self._engine.commit([Write(_KEY, self._identity.SerializeToString(deterministic=True))])


async def _forget_everything(engine: Engine) -> None:
    """Deletes the local copy, the controllers' memory and the identity, which goes last."""
    keys = [key for key, _ in engine.scan(b"", b"\xff" * 8)]
    keys.sort(key=lambda key: (key == _KEY, key))
    for start in range(0, len(keys), FORGET_ROWS_MAX):
        await engine.commit([Write(key, None) for key in keys[start : start + FORGET_ROWS_MAX]])
