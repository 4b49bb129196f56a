"""A rubelet with two node controllers of different types over one local store: units, and lamps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from rube.api import DeleteRequest, Entry, ListRequest, LogsRequest, NodeStatus, PutRequest, WatchRequest
from rube.api.errors import InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.types import Types
from rube.api.well_known import UNIT_TYPE
from rube.client import Client
from rube.controllers.cluster.types import node_key
from rube.controllers.config import NodeController
from rube.controllers.contract import Input
from rube.rubelet import Purged, Rubelet, RubeletConfig, purge_node
from rube.server.filters import ObjectFilter
from rube.sim.units.service_manager import SimServiceDriver
from rube.sim.world.kernel import SimProcess, World
from rube.units.names import unit_name
from rube.units.node_controller import unit_node_controller
from tests.simulation.killed_steps import SteppedDriver, SteppedStorage, Steps
from tests.simulation.lamps import LAMP_TYPE, LampController, LampDriver, Lamps, lamp, lamp_key, lamp_node_controller
from tests.simulation.node_world import NODE, NodeWorld, unit, unit_key

SOCKET = f"{NODE}:7824"
UNITS = Input(type=UNIT_TYPE, requeue=lambda _obj, _view: (), select=lambda _key, _obj, _view: ())
STEPS_MAX = 200
"""More than a rubelet takes until both have converged."""
STRIDE = 3
"""Odd, so that kills before and after a write or an action take turns."""


@pytest.fixture
def nodes() -> Iterator[NodeWorld]:
    with World(seed=11) as world:
        yield NodeWorld(world)


@pytest.fixture
def lamps() -> Lamps:
    return Lamps()


def start_rubelet(nodes: NodeWorld, lamps: Lamps, steps: Steps | None = None) -> SimProcess:
    """Starts it with both controllers; `steps` may kill it between any two writes and actions of either."""
    driver = LampDriver(lamps)
    if steps is None:
        return nodes.start_rubelet(others=[lamp_node_controller(driver)])
    return nodes.start_rubelet(
        driver=lambda inner: SteppedDriver(inner, steps),  # type: ignore[arg-type, return-value]
        ports=lambda host: replace(host, storage=SteppedStorage(host, steps)),
        others=[lamp_node_controller(SteppedDriver(driver, steps))],  # type: ignore[arg-type]
    )


def put_both(nodes: NodeWorld, name: str) -> None:
    nodes.put(name, unit())
    nodes.call(lambda client: client.put(PutRequest(objects=[lamp(name, NODE)])))


def delete_both(nodes: NodeWorld, name: str) -> None:
    nodes.delete(name)
    nodes.call(lambda client: client.delete(DeleteRequest(keys=[lamp_key(name).to_proto()])))


def settle(nodes: NodeWorld, lamps: Lamps) -> SimProcess:
    nodes.start_apiserver(controllers=False)
    rubelet = start_rubelet(nodes, lamps)
    nodes.world.run_for(2)
    put_both(nodes, "hall")
    nodes.world.run_for(3)
    assert_both_run(nodes, lamps, "hall")
    return rubelet


def assert_both_run(nodes: NodeWorld, lamps: Lamps, name: str) -> None:
    assert nodes.seen(name).status.active_state == "active"
    assert nodes.status(name).active_state == "active"
    obj = nodes.get(lamp_key(name))
    assert lamps.burning[name] == obj.metadata.uid
    status = NodeStatus()
    obj.status.Unpack(status)
    assert (status.driver, status.observed_generation) == ("burns", 1)


def stop_apiserver(nodes: NodeWorld) -> None:
    process = nodes.machine("api-1").host.process("apiserver")
    assert process is not None
    process.kill()


def outboxes(nodes: NodeWorld) -> dict[str, set[str]]:
    """The types of the keys in each controller's rows of the local store. No rubelet may run."""
    found: dict[str, set[str]] = {}

    async def read() -> None:
        engine = await nodes.machine(NODE).ports.storage.open("sqlite:///rubelet.db")
        for row, value in engine.scan(b"controller/", b"controller0"):
            found.setdefault(row.split(b"/")[1].decode(), set()).add(Entry.FromString(value).key.type)
        await engine.close()

    nodes.machine(NODE).host.spawn("reader", read)
    nodes.world.run_for(1)
    return found


def test_both_converge_wherever_the_rubelet_is_killed() -> None:
    """It dies before and after each commit and each action of either controller, and is started again."""
    for fatal in range(1, STEPS_MAX, STRIDE):
        lamps, steps = Lamps(), Steps(fatal)
        with World(seed=11) as world:
            nodes = NodeWorld(world)
            nodes.start_apiserver(controllers=False)
            rubelet = start_rubelet(nodes, lamps, steps)
            for act, name in ((put_both, "hall"), (put_both, "gone"), (delete_both, "gone")):
                act(nodes, name)
                world.run_for(3)
                if not rubelet.alive:
                    rubelet = start_rubelet(nodes, lamps)
                    world.run_for(3)
            world.run_for(5)
            assert_both_run(nodes, lamps, "hall")
            assert not nodes.seen("gone").installed
            assert sorted(lamps.burning) == ["hall"]
            decided = {(one.controller, one.key.type) for one in nodes.decided}
            assert decided == {("unit", UNIT_TYPE), ("lamp", LAMP_TYPE)}
            rubelet.kill()
            assert outboxes(nodes) == {"unit": {UNIT_TYPE}, "lamp": {LAMP_TYPE}}
        if steps.taken < fatal:
            return
    raise AssertionError("a rubelet takes steps without end")


def test_each_is_kept_up_from_the_copy_with_the_apiserver_away(nodes: NodeWorld, lamps: Lamps) -> None:
    rubelet = settle(nodes, lamps)
    stop_apiserver(nodes)
    rubelet.kill()
    nodes.services_of(NODE).remove_by_hand(unit_name("default", "hall"))
    del lamps.burning["hall"]
    start_rubelet(nodes, lamps)
    nodes.world.run_for(5)
    assert nodes.seen("hall").status.active_state == "active"
    assert "hall" in lamps.burning
    lamps.put_out("hall")
    nodes.world.run_for(5)
    assert "hall" in lamps.burning


def test_one_without_a_copy_yet_holds_up_no_other(nodes: NodeWorld, lamps: Lamps) -> None:
    """The release that brings a second controller is started with the apiserver away."""
    nodes.start_apiserver(controllers=False)
    rubelet = nodes.start_rubelet()
    nodes.world.run_for(2)
    put_both(nodes, "hall")
    nodes.world.run_for(3)
    stop_apiserver(nodes)
    rubelet.kill()
    nodes.services_of(NODE).remove_by_hand(unit_name("default", "hall"))
    start_rubelet(nodes, lamps)
    nodes.world.run_for(5)
    assert nodes.seen("hall").status.active_state == "active"
    assert lamps.burning == {}
    nodes.start_apiserver(controllers=False)
    nodes.world.run_for(20)
    assert_both_run(nodes, lamps, "hall")


def test_the_node_serves_both_types_with_statuses_that_are_still_to_be_sent(nodes: NodeWorld, lamps: Lamps) -> None:
    settle(nodes, lamps)
    stop_apiserver(nodes)
    nodes.world.run_for(1)
    nodes.services_of(NODE).crash(unit_name("default", "hall"))
    lamps.stuck.add("hall")
    lamps.put_out("hall")
    nodes.world.run_for(15)

    def listed(type_name: str) -> list[str]:
        request = ListRequest(type=type_name)
        found = nodes.call(lambda client: client.list_page(request), SOCKET)
        return [obj.metadata.name for obj in found.items]

    assert (listed(UNIT_TYPE), listed(LAMP_TYPE)) == (["hall"], ["hall"])
    assert nodes.status("hall", SOCKET).active_state == "failed"
    status = NodeStatus()
    nodes.get(lamp_key("hall"), SOCKET).status.Unpack(status)
    assert status.driver == "the switch is stuck"


def logs(nodes: NodeWorld, key: ObjectKey) -> list[str]:
    async def read(client: Client) -> list[str]:
        async with aclosing(client.logs(LogsRequest(key=key.to_proto()))) as responses:
            return [line.text async for response in responses for line in response.lines]

    found: list[str] = nodes.call(read, SOCKET)
    return found


def test_logs_come_from_the_driver_of_the_type(nodes: NodeWorld, lamps: Lamps) -> None:
    settle(nodes, lamps)
    assert logs(nodes, lamp_key("hall")) == ["hall burns"]
    assert logs(nodes, unit_key("hall")) != ["hall burns"]
    with pytest.raises(InvalidArgumentError, match=r"only objects of type api\.Node or api\.systemd\.Unit have"):
        logs(nodes, ObjectKey("api.Lease", "default", "hall"))


def test_the_node_names_both_drivers(nodes: NodeWorld, lamps: Lamps) -> None:
    settle(nodes, lamps)
    status = NodeStatus()
    nodes.get(node_key(NODE)).status.Unpack(status)
    assert status.driver == "simulated,lamps"


def purge(nodes: NodeWorld, lamps: Lamps, *others: NodeController) -> Purged:
    ports, purged = nodes.machine(NODE).ports, list[Purged]()

    async def main() -> None:
        units = unit_node_controller(
            node=NODE,
            boot_id="boot-1",
            driver=SimServiceDriver(ports.clock, nodes.services_of(NODE)),
            driver_name="simulated",
            clock=ports.clock,
        )
        purged.append(await purge_node(ports, [units, lamp_node_controller(LampDriver(lamps)), *others]))

    nodes.machine(NODE).host.spawn("purge", main)
    nodes.world.run_for(120)
    return purged[0]


def test_a_purge_removes_what_both_have_and_says_what_stays(nodes: NodeWorld, lamps: Lamps) -> None:
    settle(nodes, lamps).kill()
    lamps.stuck.add("cellar")
    lamps.burning["cellar"] = "uid"
    assert purge(nodes, lamps) == Purged(2, {(LAMP_TYPE, "cellar"): "the switch is stuck"})
    assert not nodes.seen("hall").installed
    assert sorted(lamps.burning) == ["cellar"]


def test_a_purge_tells_things_of_two_types_with_one_name_apart(nodes: NodeWorld, lamps: Lamps) -> None:
    lamps.stuck.add("cellar")
    lamps.burning["cellar"] = "uid"
    lights = LampController()
    lights.type = "example.Light"
    left = purge(nodes, lamps, replace(lamp_node_controller(LampDriver(lamps)), controller=lights)).left
    assert sorted(left) == [(LAMP_TYPE, "cellar"), ("example.Light", "cellar")]


def test_a_full_disk_is_said_in_the_status_of_either(nodes: NodeWorld, lamps: Lamps) -> None:
    settle(nodes, lamps)
    nodes.machine(NODE).disk.fill()
    put_both(nodes, "attic")
    nodes.world.run_for(10)
    assert "stores nothing new" in nodes.status("attic").message
    status = NodeStatus()
    nodes.get(lamp_key("attic")).status.Unpack(status)
    assert "stores nothing new" in status.driver


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": UNIT_TYPE}, "two node controllers of api.systemd.Unit"),
        ({"name": "unit"}, "two node controllers are called 'unit'"),
        ({"selector": "tier=web"}, "'lamp' has a selector or inputs"),
        ({"inputs": [UNITS]}, "'lamp' has a selector or inputs"),
    ],
)
def test_controllers_that_cannot_share_a_node_are_refused(
    nodes: NodeWorld, lamps: Lamps, change: dict[str, object], says: str
) -> None:
    ports = nodes.machine(NODE).ports
    driver = LampDriver(lamps)
    units = unit_node_controller(node=NODE, boot_id="b", driver=driver, driver_name="simulated", clock=ports.clock)
    other = lamp_node_controller(driver)
    for name, value in change.items():
        setattr(other.controller, name, value)
    config = RubeletConfig(node=NODE, servers=["api-1:7823"], data_url="memory:", boot_id="b")
    with pytest.raises(InvalidArgumentError, match=says):
        Rubelet(ports, config, [units, other])


def test_an_apiserver_that_does_not_know_one_type_leaves_the_other_and_the_node_alone(
    nodes: NodeWorld, lamps: Lamps, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The lamps' type comes with the rubelet's version, the apiserver's is older at first."""
    known, older = ObjectFilter.of, True

    def of(request: ListRequest | WatchRequest, types: Types) -> ObjectFilter:
        if older and request.type == LAMP_TYPE and request.label_selector == f"node={NODE}":
            raise InvalidArgumentError("unknown type 'acme.Lamp'; known: Unit", field="type")
        return known(request, types)

    monkeypatch.setattr(ObjectFilter, "of", of)
    nodes.start_apiserver(controllers=False)
    start_rubelet(nodes, lamps)
    nodes.world.run_for(10)
    put_both(nodes, "hall")
    nodes.world.run_for(60)
    assert nodes.seen("hall").status.active_state == "active"
    assert lamps.burning == {}
    stays = "the apiserver does not know api.Node, whose objects stay here as they are"
    assert problems_of(nodes) == [f"{stays}: unknown type 'acme.Lamp'; known: Unit"]
    lines = [record.message for record in caplog.records if "watch of api.Node: unknown type" in record.message]
    assert len(lines) == 1
    older = False
    nodes.world.run_for(60)
    assert_both_run(nodes, lamps, "hall")
    assert problems_of(nodes) == []


def problems_of(nodes: NodeWorld) -> list[str]:
    status = NodeStatus()
    nodes.get(node_key(NODE)).status.Unpack(status)
    return list(status.problems)
