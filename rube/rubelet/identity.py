"""Who this data directory is: an instance made once, of one node."""

from __future__ import annotations

from rube.api import memory_pb2
from rube.api.errors import FailedPreconditionError
from rube.host import Engine, Host, Write

__all__ = ["Identity"]

_KEY = b"identity"


class Identity:
    """`load` makes it on first use."""

    def __init__(self, engine: Engine, identity: memory_pb2.NodeIdentity) -> None:
        self._engine = engine
        self._identity = identity

    @classmethod
    async def load(cls, engine: Engine, host: Host, node: str) -> Identity:
        """Raises FailedPreconditionError where the local store is of a node of another name."""
        raw = engine.get(_KEY)
        if raw is None:
            identity = cls(engine, memory_pb2.NodeIdentity(node=node, instance_id=host.random.uid()))
            await identity._save()
            return identity
        known = memory_pb2.NodeIdentity.FromString(raw)
        if known.node != node:
            raise FailedPreconditionError(
                f"the data directory belongs to node {known.node!r}, not {node!r}: start with --node {known.node}, or "
                "with another --data",
                node=known.node,
            )
        return cls(engine, known)

    @property
    def instance_id(self) -> str:
        return self._identity.instance_id

    @property
    def registered(self) -> bool:
        """Whether the node's name was ever this instance's."""
        return self._identity.registered

    async def save_registered(self) -> None:
        if not self._identity.registered:
            self._identity.registered = True
            await self._save()

    async def _save(self) -> None:
        await self._engine.commit([Write(_KEY, self._identity.SerializeToString(deterministic=True))])
