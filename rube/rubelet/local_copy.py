"""The local copy on disk: exactly the objects bound to this node, and the revision that they are as of.

Each batch of changes is one commit, so that objects and revision stay together.
"""

from __future__ import annotations

from rube.api import Object, WatchResponse
from rube.api.errors import DataLossError
from rube.api.keys import key_of
from rube.client import Batch, CacheState
from rube.host import Engine, Write

BOOKMARK_REVISIONS_MIN = 100
"""A position that moved less, and brought no change, isn't worth a sync of the disk: resuming from the older one costs
nothing, as long as the apiserver's history (10,000 revisions) is much longer."""


class LocalCopy:
    """The rows of one type in the local engine."""

    def __init__(self, engine: Engine, type_name: str) -> None:
        self._engine = engine
        self._type = type_name
        self._position = f"replica/position/{type_name}".encode()
        self._objects = f"replica/object/{type_name}/".encode()
        # The position as of the last commit.
        self._durable_revision = 0

    def load(self) -> CacheState:
        """Returns the persisted state; an empty state if there is none."""
        raw = self._engine.get(self._position)
        if raw is None:
            return CacheState()
        position = WatchResponse.FromString(raw)
        self._durable_revision = position.revision
        objects = self._scan()
        if any(key_of(obj).type != self._type for obj in objects):
            raise DataLossError(f"the local store holds an object under another type than {self._type}: remove it")
        return CacheState(objects=objects, revision=position.revision, store_id=position.store_id)

    async def persist(self, batch: Batch) -> None:
        """Makes one batch durable, with its position; a bookmark only if it is far enough from the last one."""
        bookmark = not batch.changes and not batch.relisted
        if bookmark and 0 <= batch.revision - self._durable_revision < BOOKMARK_REVISIONS_MIN:
            return
        position = WatchResponse(revision=batch.revision, store_id=batch.store_id)
        rows: dict[bytes, bytes | None] = {self._position: position.SerializeToString(deterministic=True)}
        for change in batch.changes:
            new = change.new
            rows[self._row(change.key.namespace, change.key.name)] = (
                None if new is None else new.SerializeToString(deterministic=True)
            )
        await self._engine.commit([Write(key, value) for key, value in rows.items()])
        self._durable_revision = batch.revision

    def _scan(self) -> tuple[Object, ...]:
        pairs = self._engine.scan(self._objects, self._objects[:-1] + b"0")
        return tuple(Object.FromString(value) for _, value in pairs)

    def _row(self, namespace: str, name: str) -> bytes:
        return self._objects + f"{namespace}/{name}".encode()
