"""The parts of what a node may do to events: the write itself, and the look back at an object that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from rube.api import CoreEvent, Key, Metadata
from rube.api.errors import PermissionDeniedError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, pack
from rube.cli.real_host import real_host
from rube.server.history import last_of
from rube.server.rights.node_events import EventWriter, NodeEvents
from rube.server.rights.policy import Policy
from rube.server.rights.subjects import Subject
from rube.server.stored_object import StoredObject, spec_field
from rube.server.writes import Intent, Outcome
from rube.store import ChangeBatch, Op, Txn, open_store
from rube.store.forwarding import ForwardingStore

OWN = ObjectKey("api.systemd.Unit", "system", "own")
EVENT = ObjectKey("core.Event", "system", "happened")


def event(name: str) -> StoredObject:
    spec = pack(CoreEvent(regarding=Key(type=OWN.type, namespace="system", name=name)))
    return StoredObject(Metadata(), spec_field(spec.type_url, spec.value))


@pytest.mark.parametrize(("stored", "allowed"), [(None, True), ("own", True), ("other", False)])
def test_what_is_stored_when_it_is_written_is_judged(stored: str | None, allowed: bool) -> None:
    class Stored:
        """A writer that finds that event stored."""

        async def write(self, intent: Intent) -> Outcome:
            current = {EVENT.to_bytes(): None if stored is None else event(stored)}
            assert intent.admit is not None
            intent.admit(current)
            return Outcome(1, current, {})

    events = NodeEvents(Policy({}, {}), Subject("node", "n1"), "put", lambda: BUILTIN, {OWN})
    written = EventWriter(Stored(), events).write(Intent([EVENT.to_bytes()], [], None, lambda _: {}))
    if allowed:
        assert asyncio.run(written).revision == 1
    else:
        with pytest.raises(PermissionDeniedError):
            asyncio.run(written)


class _NoLog(ForwardingStore):
    def watch(self, start: bytes, end: bytes, *, after_revision: int) -> AsyncIterator[ChangeBatch]:
        raise AssertionError("the log is followed")


def test_the_last_state_of_an_object_is_found_without_following_the_log() -> None:
    async def main() -> None:
        store = _NoLog(await open_store(real_host(), "memory:"))
        try:
            for value in (b"first", b"last", None):
                await store.commit(Txn((Op(b"a/b", value),), ()))
            for index in range(3):
                found = await last_of(store, b"a/b")
                assert found is not None
                assert found.value in ((b"last",) if index == 0 else (b"first", b"last"))
                await store.commit(Txn((Op(b"a/other", b"%d" % index),), ()))
            assert await last_of(store, b"a/never") is None
        finally:
            await store.close()

    asyncio.run(main())
