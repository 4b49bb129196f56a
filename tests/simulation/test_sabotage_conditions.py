"""Servers that don't keep to preconditions, fences, uids and generations are found out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from grpc import aio

from rube.api import (
    ApiAsyncStub,
    ApiStub,
    DeleteRequest,
    Fence,
    GetRequest,
    Metadata,
    Object,
    Precondition,
    PutRequest,
    Unit,
    UnitStatus,
    UpdateStatusRequest,
)
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.server import preconditions as server_preconditions
from rube.server import status as server_status
from rube.server import writes as server_writes
from rube.sim.cluster.cluster import SimCluster
from rube.sim.cluster.user import User
from rube.sim.scenario import default_unit
from rube.sim.scenario.judging import ALWAYS
from rube.sim.world.kernel import World
from rube.store import Record

UNIT = Unit.DESCRIPTOR.full_name
KEY = ObjectKey(UNIT, "default", "web").to_proto()


def _unit(text: str, **metadata: Any) -> Object:
    unit = default_unit()
    unit.description = text
    return Object(metadata=Metadata(namespace="default", name="web", **metadata), spec=pack(unit))


class _Client:
    """Sends one request after the other and takes what it is answered, also a refusal."""

    def __init__(self, stub: ApiAsyncStub) -> None:
        self._stub = stub

    async def put(self, text: str, *, metadata: Any = None, **request: Any) -> int:
        return await self._send(self._stub.Put(PutRequest(objects=[_unit(text, **(metadata or {}))], **request)))

    async def delete(self, **request: Any) -> int:
        return await self._send(self._stub.Delete(DeleteRequest(keys=[KEY], **request)))

    async def report(self, text: str, **request: Any) -> int:
        status = pack(UnitStatus(active_state=text))
        return await self._send(self._stub.UpdateStatus(UpdateStatusRequest(key=KEY, status=status, **request)))

    async def uid(self) -> str:
        return (await self._stub.Get(GetRequest(key=KEY))).object.metadata.uid

    async def _send(self, call: Any) -> int:
        try:
            return int((await call).revision)
        except aio.AioRpcError:
            return 0


async def _requests(client: _Client) -> None:
    """Each demands what is not so, but for those that make it so."""
    await client.put("first", preconditions=[Precondition(absent=True)])
    old, uid = await client.put("second"), await client.uid()
    now = await client.put("third", preconditions=[Precondition(revision=old)])
    await client.put("stale", preconditions=[Precondition(revision=old)])
    await client.put("stale", metadata={"revision": old})
    await client.put("another", preconditions=[Precondition(uid="another")])
    await client.put("another", metadata={"uid": "another"})
    await client.put("absent", preconditions=[Precondition(absent=True)])
    await client.delete(preconditions=[Precondition(revision=old)])
    now = await client.report("active", precondition=Precondition(revision=now), observed_generation=3)
    await client.report("stale", precondition=Precondition(revision=old))
    await client.report("of another", uid="another")
    await client.report("of an old generation", observed_generation=1)
    await client.put("fourth", fence=Fence(group="leaders", term=2))
    await client.put("of an old leader", fence=Fence(group="leaders", term=1))
    await client.report("of an old leader", fence=Fence(group="leaders", term=1))
    await client.delete(fence=Fence(group="leaders", term=1))
    await client.delete(preconditions=[Precondition(uid=uid)], fence=Fence(group="leaders", term=3))
    await client.delete()
    await client.report("of nothing")
    await client.put("anew", preconditions=[Precondition(absent=True)])
    await client.report("of the earlier one", uid=uid)


def _violated(requests: Callable[[_Client], Coroutine[Any, Any, None]] = _requests) -> set[str]:
    async def act(user: User) -> None:
        channel = user.host.network.channel(user.targets[0])
        try:
            await requests(_Client(ApiStub(channel)))
        finally:
            await channel.close(None)

    with World(seed=1) as world:
        cluster = SimCluster(world)
        cluster.add_apiserver("api-1")
        cluster.run(act)
        cluster.conclude()
        verdicts = [check(cluster.history) for check in ALWAYS.values()]
    return {verdict.check for verdict in verdicts if not verdict.passed}


def test_the_shipped_code_holds() -> None:
    assert _violated() == set()


def test_preconditions_that_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_writes, "check_preconditions", lambda *_: None)
    assert "conditions" in _violated()


@pytest.mark.parametrize("field", ["revision", "uid", "absent"])
def test_one_precondition_that_is_not_looked_at(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check = server_preconditions.check_preconditions

    def blind(preconditions: Any, current: Any) -> None:
        check([one for one in preconditions if not getattr(one[1], field)], current)

    monkeypatch.setattr(server_writes, "check_preconditions", blind)
    assert "conditions" in _violated()


def test_preconditions_that_objects_imply_and_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from rube.server import put as server_put

    monkeypatch.setattr(server_put, "implied_precondition", lambda metadata: Precondition())
    assert "conditions" in _violated()


def test_fences_that_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    check = server_writes.check_fence

    def blind(fence: Fence, record: Record | None) -> Any:
        seen = 0 if record is None else int(record.value)
        return check(fence, record) if fence.term >= seen else None

    monkeypatch.setattr(server_writes, "check_fence", blind)
    assert "conditions" in _violated()


def test_fences_that_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_writes, "check_fence", lambda *_: None)
    assert "conditions" in _violated()


def test_statuses_whose_uid_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    from rube.server import service

    update = server_status.update_status

    async def blind(backend: Any, request: UpdateStatusRequest) -> Any:
        request.uid = ""
        return await update(backend, request)

    monkeypatch.setattr(service, "update_status", blind)
    assert "conditions" in _violated()


def test_statuses_of_old_generations(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(key: Any, metadata: Any, stored: Any, merged: Any, generation: int) -> None:
        merged.observed_generation = generation

    monkeypatch.setattr(server_status, "_observe", blind)
    assert "conditions" in _violated()


def _after_preconditions(monkeypatch: pytest.MonkeyPatch, refuse: Callable[[bytes, Any], None]) -> None:
    """`refuse` is given each key that a precondition is about, and what is stored there, once all of them hold."""
    check = server_preconditions.check_preconditions

    def moody(preconditions: Any, current: Any) -> None:
        check(preconditions, current)
        for key, _ in preconditions:
            refuse(key, current[key])

    monkeypatch.setattr(server_writes, "check_preconditions", moody)


def test_a_refusal_without_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: bytes, there: Any) -> None:
        revision = 0 if there is None else there.metadata.revision
        raise server_writes.AbortedError("not today", key=key.decode(), revision=revision)

    _after_preconditions(monkeypatch, refuse)
    assert "conditions" in _violated()


def test_a_refusal_for_what_is_not_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: bytes, there: Any) -> None:
        raise server_writes.AbortedError("it is at another revision", key=key.decode(), revision=1)

    _after_preconditions(monkeypatch, refuse)
    assert "conditions" in _violated()


def test_not_found_for_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(key: bytes, there: Any) -> None:
        raise server_status.NotFoundError("it is gone", key=key.decode())

    _after_preconditions(monkeypatch, refuse)
    assert "conditions" in _violated()


def test_a_fence_that_is_refused_for_a_term_that_never_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fence: Fence, record: Record | None) -> Any:
        raise server_writes.AbortedError("a newer leader", fence=fence.group, term=99)

    monkeypatch.setattr(server_writes, "check_fence", refuse)
    assert "conditions" in _violated()
