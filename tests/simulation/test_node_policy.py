"""A node's policy in a world: the shipped rubelet refuses, stops and starts units as the policy says."""

from __future__ import annotations

from rube.api import NodePolicy, Service, Unit, UnitStatus
from rube.sim.world.kernel import World
from rube.units.names import unit_name
from rube.units.policy import MachineUser, PolicyGate
from rube.units.policy.accounts import KnownAccounts
from tests.simulation.node_world import NODE, NodeWorld, unit_key

ON_ROOT = KnownAccounts(
    MachineUser(name="root", uid=0), (MachineUser(name="root", uid=0), MachineUser(name="web", uid=800))
)


def _unit(user: str) -> Unit:
    return Unit(service=Service(exec=Service.Exec(start=["/bin/sleep 1000"]), user=user))


def _status(nodes: NodeWorld, name: str) -> UnitStatus:
    status = UnitStatus()
    nodes.get(unit_key(name)).status.Unpack(status)
    return status


def test_the_node_has_the_last_word_on_what_runs_there() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        gate = PolicyGate(accounts=ON_ROOT, source="policy /etc/p")
        nodes.start_apiserver()
        nodes.start_rubelet(gate=gate)
        nodes.put("plain", _unit(""))
        nodes.put("web", _unit("web"))
        world.run_for(5)
        assert "policy /etc/p" in _status(nodes, "plain").message
        assert "service.user is missing" in _status(nodes, "plain").message
        assert _status(nodes, "web").active_state == "active"

        gate.set(NodePolicy(users=["root"]), "policy /etc/p")
        world.run_for(5)
        assert (_status(nodes, "plain").active_state, _status(nodes, "plain").message) == ("active", "")
        assert (_status(nodes, "web").active_state, _status(nodes, "web").load_state) == ("inactive", "not-found")
        assert "rule `users` allows root" in _status(nodes, "web").message
        assert unit_name("default", "web") not in nodes.services_of(NODE).names()
