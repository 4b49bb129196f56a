"""The callers of a member's port with TLS: each method by each kind of certificate, on the simulated network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from grpc import StatusCode, aio

from rube.api.errors import PermissionDeniedError
from rube.cli.controller import replicated_config
from rube.controllers.cluster.controllers import ClusterControllersConfig
from rube.group import Member, MemberConfig
from rube.group.group_pb2 import ChangeRequest, DescribeRequest, JoinRequest, Piece, Subscription
from rube.group.group_pb2_grpc import MembersStub
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World
from rube.sim.world.network import SimFabric, SimNetwork
from rube.transport import rube_error
from rube.trust import Identity
from tests.conformance.transport.transport_identities import NOW, SimIdentities
from tests.simulation.group_world import Dictionary

CALLS: dict[str, Callable[[Any], Any]] = {
    "Subscribe": lambda stub: stub.Subscribe(Subscription()).read(),
    "Install": lambda stub: stub.Install(Piece()),
    "Join": lambda stub: stub.Join(JoinRequest()),
    "Describe": lambda stub: stub.Describe(DescribeRequest()),
    "Change": lambda stub: stub.Change(ChangeRequest(remove="a")),
}
MEMBERS_ONLY = {"Subscribe", "Install", "Join"}
ADMIN = Identity(kind="user", name="ada", groups=("admins", "ops"))
OTHERS = [
    Identity(kind="user", name="eve", groups=("ops",)),
    Identity(kind="node", name="w1", groups=("admins",)),
]
MEMBERS = (("a", "server:7900"),)
KINDS = {
    "member": MemberConfig(name="a", listen="0.0.0.0:7900", members=MEMBERS),
    "controller": replicated_config("a", MEMBERS, None, ClusterControllersConfig()).member,
}


async def refusals(fabric: SimFabric, identity: Identity | None, identities: SimIdentities) -> dict[str, str]:
    """The methods that the caller may not call, and why."""
    tls = None if identity is None else identities.issue("client", identity, days=NOW)
    refused: dict[str, str] = {}
    async with SimNetwork(fabric, "client", tls=tls).channel("server:7900") as channel:
        for method, call in CALLS.items():
            try:
                await call(MembersStub(channel))
            except aio.AioRpcError as error:
                if error.code() is StatusCode.UNAVAILABLE:
                    raise
                if isinstance(told := rube_error(error), PermissionDeniedError):
                    refused[method] = told.message
    return refused


def refused_of(kind: str, identity: Identity | None) -> dict[str, str]:
    world = World(7)
    fabric = SimFabric(world)
    machine = make_machine(world, fabric, world.host("server"))
    client = world.host("client")
    identities = SimIdentities(fabric, client, machine.host)

    async def serve() -> None:
        own = Identity(kind=kind, name="a", names=("server",))
        tls = None if identity is None else identities.issue("server", own, days=NOW)
        host = replace(machine.ports, network=SimNetwork(fabric, machine.host, tls=tls))
        engine = await host.storage.open("memory:")
        await Member.open(host, engine, Dictionary(engine), KINDS[kind])
        await asyncio.Event().wait()

    with world:
        machine.host.spawn("member", serve)
        world.run_for(5)
        return world.run(refusals, fabric, identity, identities, host=client)


@pytest.mark.parametrize("kind", KINDS)
def test_members_may_make_every_call(kind: str) -> None:
    assert refused_of(kind, Identity(kind=kind, name="b", names=("b",))) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_an_administrator_may_look_and_change(kind: str) -> None:
    assert set(refused_of(kind, ADMIN)) == MEMBERS_ONLY


@pytest.mark.parametrize("kind", KINDS)
def test_other_certificates_may_make_no_call(kind: str) -> None:
    (of_others,) = set(KINDS) - {kind}
    for caller in (*OTHERS, Identity(kind=of_others, name="c", names=("c",))):
        refused = refused_of(kind, caller)
        assert set(refused) == set(CALLS)
        assert all(f"{caller.kind}/{caller.name}" in told and f"{kind}/NAME" in told for told in refused.values())
        assert {method for method, told in refused.items() if "'admins'" in told} == set(CALLS) - MEMBERS_ONLY


@pytest.mark.parametrize("kind", KINDS)
def test_callers_in_plain_text_are_not_told_apart(kind: str) -> None:
    assert refused_of(kind, None) == {}
