"""Servers and stores that write something else than they were asked for, or answer so, are found out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rube.api import Lease, Metadata, PutRequest, PutResponse
from rube.api.errors import NotDoneError
from rube.server import put as server_put
from rube.server import put_response
from rube.server import renewals as server_renewals
from rube.server import service as server_service
from rube.server import status as server_status
from rube.server import writes as server_writes
from rube.server.backend import Backend
from rube.server.stored_object import StoredObject, spec_field
from rube.sim.cluster.recording import RecordingStore
from rube.store import Op, Record, Txn
from rube.store.embedded.store import MvccStore
from tests.simulation.sabotage import violated

UNITS = b"api.systemd.Unit/"

Prepared = StoredObject | None


def _after_put(monkeypatch: pytest.MonkeyPatch, change: Callable[[StoredObject | None, StoredObject], None]) -> None:
    """`change` is made to all that puts of units are about to store; it is given what was there, too."""
    prepare = server_put.prepare_put

    def wrong(current: Prepared, wanted: StoredObject, *, now_ns: int, uid: str) -> Prepared:
        prepared = prepare(current, wanted, now_ns=now_ns, uid=uid)
        if prepared is not None and b"api.systemd.Unit" in prepared.spec:
            change(current, prepared)
        return prepared

    monkeypatch.setattr(server_put, "prepare_put", wrong)


def _label(_: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.labels["tier"] = "unasked"


def _annotation(_: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.annotations["why"] = "unasked"


def _owner(_: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.owner_references.add(name="nobody")


def _uid(before: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.uid = "another" if before is not None else parts.metadata.uid


def _one_uid_for_all(_: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.uid = "the-only-one"


def _create_time(before: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.create_time.seconds += before is not None


def _generation_stands(before: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.generation = 1


def _generation_leaps(before: StoredObject | None, parts: StoredObject) -> None:
    parts.metadata.generation += before is not None


def _status_is_lost(_: StoredObject | None, parts: StoredObject) -> None:
    parts.status = b""


def _old_spec(before: StoredObject | None, parts: StoredObject) -> None:
    if before is not None:
        parts.spec, parts.metadata.generation = before.spec, before.metadata.generation


def _another_node(before: StoredObject | None, parts: StoredObject) -> None:
    if before is not None:
        parts.metadata.labels["node"] = "worker-2"


@pytest.mark.parametrize(
    "change",
    [
        _label,
        _annotation,
        _owner,
        _uid,
        _one_uid_for_all,
        _create_time,
        _generation_stands,
        _generation_leaps,
        _status_is_lost,
        _old_spec,
        _another_node,
    ],
)
def test_a_put_that_stores_something_else(
    change: Callable[[StoredObject | None, StoredObject], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    _after_put(monkeypatch, change)
    assert violated() & {"contents", "acknowledged_writes"}


def test_a_generation_that_counts_statuses(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = server_status.prepare_status

    def counted(current: StoredObject, status: Any) -> Prepared:
        prepared = prepare(current, status)
        if prepared is not None:
            prepared.metadata.generation += 1
        return prepared

    monkeypatch.setattr(server_status, "prepare_status", counted)
    assert "contents" in violated()


def test_a_status_that_changes_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = server_status.prepare_status

    def both(current: StoredObject, status: Any) -> Prepared:
        prepared = prepare(current, status)
        if prepared is not None and b"api.systemd.Unit" in prepared.spec:
            prepared.metadata.labels["tier"] = "unasked"
        return prepared

    monkeypatch.setattr(server_status, "prepare_status", both)
    assert "contents" in violated()


def test_a_status_that_is_acknowledged_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_status, "prepare_status", lambda current, status: None)
    assert "acknowledged_writes" in violated()


@pytest.mark.parametrize("field", ["uid", "generation", "create_revision", "revision", "labels", "create_time"])
def test_a_put_that_is_answered_with_something_else(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    after = put_response.metadata_after

    def wrong(outcome: Any, key: bytes) -> Metadata:
        metadata = Metadata()
        metadata.CopyFrom(after(outcome, key))
        if key.startswith(UNITS):
            metadata.ClearField(field)  # type: ignore[arg-type]
        return metadata

    monkeypatch.setattr(put_response, "metadata_after", wrong)
    assert "acknowledged_writes" in violated()


def test_a_store_that_writes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads, watches and the log agree with it: only what was asked for, and what users sent, do not."""
    commit = MvccStore.commit

    async def wrong(self: MvccStore, txn: Txn) -> int:
        ops = tuple(
            Op(key, value.replace(b"RUBE_CHANGE", b"RUBE_CHANCE")) if value else Op(key, value)
            for key, value in txn.ops
        )
        return await commit(self, Txn(ops, txn.compares))

    monkeypatch.setattr(MvccStore, "commit", wrong)
    assert {"contents", "acknowledged_writes"} <= violated()


def test_a_store_that_writes_more(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = MvccStore.commit

    async def more(self: MvccStore, txn: Txn) -> int:
        (found,), *_ = await self.get((UNITS + b"default/web-3",))
        changes = any(key == UNITS + b"default/web-1" for key, _ in txn.ops)
        if isinstance(found, Record) and changes:
            return await commit(self, Txn((*txn.ops, Op(found.key, found.value)), txn.compares))
        return await commit(self, txn)

    monkeypatch.setattr(MvccStore, "commit", more)
    assert "contents" in violated()


def test_a_store_that_writes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = MvccStore.commit

    async def parts(self: MvccStore, txn: Txn) -> int:
        if len(txn.ops) < 2:
            return await commit(self, txn)
        for op in txn.ops:
            revision = await commit(self, Txn((op,), ()))
        return revision

    monkeypatch.setattr(MvccStore, "commit", parts)
    assert {"contents", "acknowledged_writes"} <= violated()


def test_an_apiserver_that_writes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client does so that sends again what may have been done: the second one is no client's request."""
    commit = RecordingStore.commit
    times = 0

    async def twice(self: RecordingStore, txn: Txn) -> int:
        nonlocal times
        revision = await commit(self, txn)
        if any(key == UNITS + b"default/web-1" for key, _ in txn.ops) and (times := times + 1) == 3:
            await commit(self, Txn(txn.ops, ()))
        return revision

    monkeypatch.setattr(RecordingStore, "commit", twice)
    assert "contents" in violated()


def test_a_delete_that_is_acknowledged_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = RecordingStore.commit

    async def lazy(self: RecordingStore, txn: Txn) -> int:
        kept = tuple(op for op in txn.ops if op.value is not None)
        return await commit(self, Txn(kept, txn.compares)) if kept else self.revision

    monkeypatch.setattr(RecordingStore, "commit", lazy)
    assert "acknowledged_writes" in violated()


def test_writes_that_are_refused_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    check = server_writes.check_preconditions
    times = 0

    def moody(preconditions: Any, current: Any) -> None:
        nonlocal times
        check(preconditions, current)
        for key, _ in preconditions:
            if (times := times + 1) % 5 == 0 and current[key] is not None:
                revision = current[key].metadata.revision
                raise server_writes.AbortedError("not today", key=_text(key), revision=revision)

    monkeypatch.setattr(server_writes, "check_preconditions", moody)
    assert "conditions" in violated()


def _text(key: bytes) -> str:
    return "/".join(part for part in key.decode().split("/") if part)


Renewed = Callable[[StoredObject | None, Any], Prepared]


def _sent_another_time(renewed: Renewed) -> Renewed:
    """A renewal writes another time than the node's."""

    def wrong(stored: StoredObject | None, waiting: Any) -> Prepared:
        waiting.request.renew_time.seconds += 1
        return renewed(stored, waiting)

    return wrong


def _answered_and_not_written(renewed: Renewed) -> Renewed:
    """Every third renewal is answered and forgotten."""
    count = 0

    def wrong(stored: StoredObject | None, waiting: Any) -> Prepared:
        nonlocal count
        count += 1
        return renewed(stored, waiting) if count % 3 else None

    return wrong


def _another_field(renewed: Renewed) -> Renewed:
    """A renewal changes when the lease was acquired, too."""

    def wrong(stored: StoredObject | None, waiting: Any) -> Prepared:
        prepared = renewed(stored, waiting)
        if prepared is not None:
            lease = Lease.FromString(prepared.spec_value())
            lease.acquire_time.seconds += 1
            prepared.spec = spec_field("rube/api.Lease", lease.SerializeToString(deterministic=True))
        return prepared

    return wrong


@pytest.mark.parametrize("sabotage", [_sent_another_time, _answered_and_not_written, _another_field])
def test_renewals(monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[Renewed], Renewed]) -> None:
    monkeypatch.setattr(server_renewals, "_renewed", sabotage(server_renewals._renewed))
    assert violated() & {"contents", "acknowledged_writes"}


def test_a_server_that_says_that_nothing_was_done_though_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    done = server_service.put
    count = 0

    async def denied(backend: Backend, request: PutRequest) -> PutResponse:
        nonlocal count
        response = await done(backend, request)
        count += 1
        if count % 5 == 0:
            raise NotDoneError("this apiserver is stopping")
        return response

    monkeypatch.setattr(server_service, "put", denied)
    assert "contents" in violated()
