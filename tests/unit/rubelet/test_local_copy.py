"""The replica on disk: objects and position in one commit."""

from __future__ import annotations

import asyncio

from google.protobuf.any_pb2 import Any

from rube.api import Object
from rube.api.keys import ObjectKey
from rube.client import Batch, CacheState, Change
from rube.rubelet.local_copy import BOOKMARK_REVISIONS_MIN, LocalCopy
from rube.store.engines.memory import MemoryEngine, VolatileDisk

UNIT = "api.systemd.Unit"


def unit(namespace: str, name: str, revision: int = 1) -> Object:
    obj = Object(spec=Any(type_url=f"rube/{UNIT}"))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.revision = namespace, name, revision
    return obj


def change(namespace: str, name: str, new: Object | None) -> Change:
    return Change(ObjectKey(UNIT, namespace, name), None, new, 1)


def batch(revision: int, *changes: Change) -> Batch:
    return Batch(changes=changes, revision=revision, store_id="store-1")


def test_an_empty_store_is_an_empty_state() -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "memory:")
        assert LocalCopy(engine, UNIT).load() == CacheState()

    asyncio.run(main())


def test_what_was_persisted_is_loaded_with_its_position() -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "memory:")
        store = LocalCopy(engine, UNIT)
        web, api = unit("system", "web"), unit("system", "api")
        await store.persist(batch(7, change("system", "web", web), change("system", "api", api)))
        await store.persist(batch(9, change("system", "web", None), change("a", "b", unit("a", "b", 9))))
        loaded = LocalCopy(engine, UNIT).load()
        assert list(loaded.objects) == [unit("a", "b", 9), api]
        assert (loaded.revision, loaded.store_id) == (9, "store-1")

    asyncio.run(main())


def test_a_bookmark_moves_the_position_alone_and_only_from_afar() -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "memory:")
        store = LocalCopy(engine, UNIT)
        await store.persist(batch(7, change("system", "web", unit("system", "web"))))
        await store.persist(batch(7 + BOOKMARK_REVISIONS_MIN - 1))
        assert store.load().revision == 7
        await store.persist(batch(7 + BOOKMARK_REVISIONS_MIN))
        loaded = store.load()
        assert (len(loaded.objects), loaded.revision) == (1, 7 + BOOKMARK_REVISIONS_MIN)

    asyncio.run(main())


def test_types_do_not_mix() -> None:
    async def main() -> None:
        engine = await MemoryEngine.open(VolatileDisk(), "memory:")
        await LocalCopy(engine, UNIT).persist(batch(7, change("system", "web", unit("system", "web"))))
        assert LocalCopy(engine, "api.systemd.UnitX").load() == CacheState()
        assert LocalCopy(engine, "api.systemd").load() == CacheState()

    asyncio.run(main())
