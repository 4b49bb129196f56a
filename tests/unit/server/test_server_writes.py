"""The read-decide-commit loop, on a store that another server writes to as well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from rube.api import Metadata, Object, Precondition, Unit
from rube.api.errors import AbortedError, ResourceExhaustedError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, pack
from rube.host import Host, RealClock, RealRandomness
from rube.server.namespaces import Namespaces
from rube.server.objects import decode
from rube.server.stored_object import StoredObject, encode_object, spec_field
from rube.server.writes import Current, Decided, Intent, Outcome, Writer
from rube.store import Lookup, Op, RealStorage, Store, StoreLimits, Txn, open_store
from rube.transport import GrpcNetwork

OBJECT_KEY = ObjectKey("api.systemd.Unit", "system", "a")
KEY = OBJECT_KEY.to_bytes()


def unit(description: str) -> StoredObject:
    spec = pack(Unit(description=description))
    return StoredObject(Metadata(namespace="system", name="a"), spec_field(spec.type_url, spec.value))


class ContendedStore:
    """A store on which another client writes the key after each of the first `races` reads."""

    def __init__(self, store: Store, races: int, *, behind: Lookup | None = None) -> None:
        """`behind`: what serializable reads see."""
        self._store = store
        self._races = races
        self._behind = behind
        self.commits: list[Txn] = []

    @property
    def limits(self) -> StoreLimits:
        return self._store.limits

    async def get(self, keys: Sequence[bytes], *, min_revision: int = 0, serializable: bool = False) -> Lookup:
        if serializable and self._behind is not None:
            return self._behind._replace(serializable=True)
        found = await self._store.get(keys, min_revision=min_revision)
        if self._races:
            self._races -= 1
            await self._store.commit(Txn((Op(keys[0], encode_object(unit(f"theirs {self._races}"))),)))
        return found

    async def commit(self, txn: Txn) -> int:
        self.commits.append(txn)
        return await self._store.commit(txn)


def run(body: Callable[[Store], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        host = Host(
            name="test", clock=RealClock(), network=GrpcNetwork(), storage=RealStorage(), random=RealRandomness()
        )
        store = await open_store(host, "memory:")
        await body(store)
        await store.close()

    asyncio.run(main())


def writer_of(store: Any, *, retries_max: int) -> Writer:
    """A writer in a store of which it is known that no namespace has an object."""
    namespaces = Namespaces(RealClock(), store)
    namespaces._known = set()
    return Writer(store, namespaces, retries_max=retries_max, waiters_per_key_max=10)


async def write(store: Any, *, retries_max: int = 3, precondition: Precondition | None = None) -> Outcome:
    """Writes `ours, after <what was there>`."""

    def decide(current: Current) -> Decided:
        obj = current[KEY]
        spec = Object.FromString(obj.spec).spec if obj is not None else None
        before = BUILTIN.unpack(spec).description if spec is not None else "nothing"  # type: ignore[attr-defined]
        return {KEY: unit(f"ours, after {before}")}

    preconditions = [(KEY, precondition)] if precondition else []
    writer = writer_of(store, retries_max=retries_max)
    return await writer.write(Intent(keys=[KEY], preconditions=preconditions, fence=None, decide=decide))


async def description(store: Store) -> str:
    page = await store.range(KEY, None)
    return str(BUILTIN.unpack(decode(page.records[0]).spec).description)  # type: ignore[attr-defined]


def test_a_lost_race_is_decided_anew() -> None:
    async def body(store: Store) -> None:
        contended = ContendedStore(store, races=2)
        outcome = await write(contended)
        assert await description(store) == "ours, after theirs 0"
        assert len(contended.commits) == 3
        assert outcome.revision == store.revision

    run(body)


def test_a_write_decided_from_an_old_revision_is_decided_anew() -> None:
    async def body(store: Store) -> None:
        behind = await store.get([KEY])
        await store.commit(Txn((Op(KEY, encode_object(unit("theirs"))),)))
        contended = ContendedStore(store, races=0, behind=behind)
        await write(contended, retries_max=1)
        assert await description(store) == "ours, after theirs"
        assert len(contended.commits) == 2

    run(body)


def test_an_old_revision_refuses_nothing_and_leaves_nothing_unwritten() -> None:
    """An answer without a commit that compares comes from a consistent read."""

    async def body(store: Store) -> None:
        behind = await store.get([KEY])
        revision = await store.commit(Txn((Op(KEY, encode_object(unit("theirs"))),)))
        contended = ContendedStore(store, races=0, behind=behind)
        await write(contended, precondition=Precondition(revision=revision))
        with pytest.raises(AbortedError, match="exists") as raised:
            await write(contended, precondition=Precondition(absent=True))
        assert raised.value.metadata["revision"] == str(store.revision)
        seen: list[bool] = []

        def decide(current: Current) -> Decided:
            seen.append(current[KEY] is None)
            return {}

        writer = writer_of(contended, retries_max=0)
        outcome = await writer.write(Intent(keys=[KEY], preconditions=[], fence=None, decide=decide))
        assert seen == [True, False]
        assert outcome.revision == store.revision

    run(body)


def test_races_without_end_are_given_up() -> None:
    async def body(store: Store) -> None:
        contended = ContendedStore(store, races=100)
        with pytest.raises(AbortedError, match="3 times in a row: retries_max"):
            await write(contended, retries_max=3)
        assert len(contended.commits) == 4

    run(body)


def test_a_callers_precondition_that_a_race_makes_stale_is_not_retried() -> None:
    async def body(store: Store) -> None:
        contended = ContendedStore(store, races=1)
        with pytest.raises(AbortedError, match="exists") as raised:
            await write(contended, precondition=Precondition(absent=True))
        assert raised.value.metadata["revision"] == str(store.revision)
        assert len(contended.commits) == 1
        assert await description(store) == "theirs 0"

    run(body)


def test_a_write_that_decides_nothing_commits_nothing() -> None:
    async def body(store: Store) -> None:
        contended = ContendedStore(store, races=0)
        writer = writer_of(contended, retries_max=1)
        await writer.write(Intent(keys=[KEY], preconditions=[], fence=None, decide=lambda current: {}))
        assert contended.commits == []

    run(body)


def test_a_write_too_large_for_the_store_names_the_object() -> None:
    async def body(store: Store) -> None:
        size = store.limits.value_bytes_max + 1
        writer = writer_of(store, retries_max=1)
        intent = Intent(keys=[KEY], preconditions=[], fence=None, decide=lambda current: {KEY: unit("x" * size)})
        with pytest.raises(ResourceExhaustedError, match=str(OBJECT_KEY)):
            await writer.write(intent)

    run(body)
