"""A node's heartbeat: one call while nothing changes, and everything anew where something does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from rube.api import DeleteRequest, Lease, NodeStatus, Object
from rube.api.errors import NotFoundError, UnimplementedError
from rube.api.well_known import LEADER_NAMESPACE
from rube.controllers.cluster.types import node_key, node_lease_key
from rube.server.service import ApiService
from rube.sim.world.kernel import World
from tests.simulation.node_world import NODE, NodeWorld


@pytest.fixture
def nodes() -> Iterator[NodeWorld]:
    with World(seed=4) as world:
        yield NodeWorld(world)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The calls that reach the apiserver, without the renewals of its own leaders."""
    counted: Counter[str] = Counter()
    for name in ("Get", "Put", "UpdateStatus", "RenewLease"):
        monkeypatch.setattr(ApiService, name, _counting(name, getattr(ApiService, name), counted))
    return counted


def _counting(name: str, method: Any, counted: Counter[str]) -> Any:
    async def call(self: ApiService, request: Any, context: Any) -> Any:
        if LEADER_NAMESPACE not in str(request):
            counted[name] += 1
        return await method(self, request, context)

    return call


def lease(nodes: NodeWorld) -> tuple[Lease, int]:
    obj = nodes.get(node_lease_key(NODE))
    return Lease.FromString(obj.spec.value), obj.metadata.revision


def node(nodes: NodeWorld) -> Object:
    return nodes.get(node_key(NODE))


def test_a_node_at_rest_makes_one_call_a_heartbeat(nodes: NodeWorld, calls: Counter[str]) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    before, revision = lease(nodes)
    calls.clear()
    nodes.world.run_for(100)
    assert 9 <= calls.pop("RenewLease") <= 11
    assert not calls
    after, later = lease(nodes)
    assert after.renew_time.seconds - before.renew_time.seconds >= 80
    assert later > revision
    assert nodes.readiness() == NodeStatus.READY


def test_a_deleted_node_registers_again_at_its_next_heartbeat(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    first = node(nodes).metadata.uid
    nodes.call(lambda client: client.delete(DeleteRequest(keys=[node_key(NODE).to_proto()])))
    with pytest.raises(NotFoundError):
        node(nodes)
    nodes.world.run_for(15)
    assert node(nodes).metadata.uid != first


def test_a_lost_lease_is_acquired_again_at_the_next_heartbeat(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    nodes.call(lambda client: client.delete(DeleteRequest(keys=[node_lease_key(NODE).to_proto()])))
    nodes.world.run_for(15)
    assert lease(nodes)[0].holder


def test_a_server_without_renewals_gets_heartbeats_in_the_old_way(
    nodes: NodeWorld, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: ApiService, request: Any, context: Any) -> Any:
        raise UnimplementedError("an older server")

    monkeypatch.setattr(ApiService, "RenewLease", refuse)
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    _, revision = lease(nodes)
    calls.clear()
    nodes.world.run_for(100)
    assert calls["Put"] >= 9
    assert lease(nodes)[1] > revision
    assert nodes.readiness() == NodeStatus.READY


def test_a_node_stays_ready_while_its_server_restarts_between_heartbeats(nodes: NodeWorld) -> None:
    server = nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    for _ in range(4):
        server.kill()
        server = nodes.start_apiserver()
        for _ in range(30):
            nodes.world.run_for(1)
            assert nodes.readiness() == NodeStatus.READY


def test_a_server_that_was_away_gets_renewals_again_and_nothing_more(nodes: NodeWorld, calls: Counter[str]) -> None:
    server = nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    server.kill()
    nodes.world.run_for(20)
    nodes.start_apiserver()
    calls.clear()
    nodes.world.run_for(60)
    assert calls["RenewLease"] >= 5
    assert calls["Put"] == 0


def test_a_node_that_dies_is_silent_after_its_lease(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    rubelet = nodes.start_rubelet()
    nodes.world.run_for(60)
    rubelet.kill()
    nodes.world.run_for(25)
    assert nodes.readiness() == NodeStatus.READY
    nodes.world.run_for(35)
    assert nodes.readiness() == NodeStatus.SILENT


def test_a_clock_that_is_set_back_lets_no_node_look_dead(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(60)
    before, _ = lease(nodes)
    nodes.machine(NODE).host.jump_clock(-3600 * 10**9)
    for _ in range(12):
        nodes.world.run_for(10)
        assert nodes.readiness() == NodeStatus.READY
    after, _ = lease(nodes)
    assert (after.session, after.acquire_time) == (before.session, before.acquire_time)
    assert after.renew_time.ToNanoseconds() > before.renew_time.ToNanoseconds()
