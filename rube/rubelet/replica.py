"""The replica on disk: exactly the objects bound to this node, and the position that they are as of.

Each batch of changes is one commit, so that objects and position can't part.
"""

from __future__ import annotations

from rube import api_pb2
from rube.api.errors import DataLossError
from rube.api.keys import key_of
from rube.client import Batch, ReplicaState
from rube.host import Engine, Write

__all__ = ["ReplicaStore"]


class ReplicaStore:
    """The rows of one type in the local engine."""

    def __init__(self, engine: Engine, type_name: str) -> None:
        self._engine = engine
        self._type = type_name
        self._position = f"replica/position/{type_name}".encode()
        self._objects = f"replica/object/{type_name}/".encode()

    def load(self) -> ReplicaState:
        """What was last persisted; an empty state if nothing was."""
        raw = self._engine.get(self._position)
        if raw is None:
            return ReplicaState()
        position = api_pb2.WatchResponse.FromString(raw)
        objects = self._scan()
        if any(key_of(obj).type != self._type for obj in objects):
            raise DataLossError(f"the local store holds an object under another type than {self._type}: remove it")
        return ReplicaState(objects=objects, revision=position.revision, store_id=position.store_id)

    async def persist(self, batch: Batch) -> None:
        """Makes one batch durable, with its position."""
        position = api_pb2.WatchResponse(revision=batch.revision, store_id=batch.store_id)
        writes = {self._position: position.SerializeToString(deterministic=True)}
        rows: dict[bytes, bytes | None] = {**writes}
        for change in batch.changes:
            new = change.new
            rows[self._row(change.key.namespace, change.key.name)] = (
                None if new is None else new.SerializeToString(deterministic=True)
            )
        await self._engine.commit([Write(key, value) for key, value in rows.items()])

    def _scan(self) -> tuple[api_pb2.Object, ...]:
        pairs = self._engine.scan(self._objects, self._objects[:-1] + b"0")
        return tuple(api_pb2.Object.FromString(value) for _, value in pairs)

    def _row(self, namespace: str, name: str) -> bytes:
        return self._objects + f"{namespace}/{name}".encode()
