"""Rubelets and controllers of the shipped kind, killed and starved in a simulated world."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rube.api import DeleteRequest, Lease, NodeStatus, Unit, WatchRequest
from rube.api.errors import AlreadyExistsError, FailedPreconditionError, NotFoundError
from rube.client import Client
from rube.controllers.cluster.types import node_key, node_lease_key
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import World
from tests.simulation.node_world import NODE, NodeWorld, unit, unit_key

READY, SILENT = NodeStatus.READY, NodeStatus.SILENT


@pytest.fixture
def nodes() -> Iterator[NodeWorld]:
    with World(seed=7) as world:
        yield NodeWorld(world)


def test_a_unit_is_placed_started_reported_and_removed(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(3)
    nodes.put("web", unit(), node="")
    nodes.world.run_for(3)
    assert nodes.get(unit_key("web")).metadata.labels["node"] == NODE
    assert nodes.status("web").active_state == "active"
    assert nodes.status("web").observed_generation == 1
    nodes.delete("web")
    nodes.world.run_for(2)
    assert not nodes.seen("web").installed


def test_units_wait_unplaced_for_a_node_and_are_spread_over_those_that_come(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.world.run_for(2)
    for number in range(12):
        nodes.put(f"u{number}", unit(), node="")
    nodes.world.run_for(10)
    assert "node" not in nodes.get(unit_key("u0")).metadata.labels
    for name in ("worker-1", "worker-2"):
        nodes.start_rubelet(name)
    nodes.world.run_for(10)
    placed = [nodes.get(unit_key(f"u{number}")).metadata.labels["node"] for number in range(12)]
    assert set(placed) == {"worker-1", "worker-2"}
    nodes.put("u0", unit("/bin/other"), node="")
    nodes.world.run_for(3)
    assert nodes.get(unit_key("u0")).metadata.labels["node"] == placed[0], "a put without the label keeps it"


def test_a_new_definition_restarts_and_a_stopped_one_stops(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(2)
    nodes.put("web", unit())
    nodes.world.run_for(2)
    first = nodes.seen("web").status.main_pid
    nodes.put("web", unit("/bin/other"))
    nodes.world.run_for(3)
    assert nodes.seen("web").status.main_pid not in (0, first)
    stopped = unit("/bin/other")
    stopped.state = Unit.STOPPED
    nodes.put("web", stopped)
    nodes.world.run_for(3)
    assert nodes.status("web").active_state == "inactive"
    assert nodes.status("web").observed_generation == 3


def test_the_node_registers_and_is_silent_once_its_rubelet_is_gone(nodes: NodeWorld) -> None:
    nodes.start_apiserver()
    rubelet = nodes.start_rubelet()
    nodes.world.run_for(5)
    assert nodes.readiness() == READY
    status = NodeStatus()
    nodes.get(node_key(NODE)).status.Unpack(status)
    assert (status.boot_id, status.driver) == ("boot-1", "simulated")
    rubelet.kill()
    nodes.world.run_for(30)
    assert nodes.readiness() == READY
    nodes.world.run_for(25)
    assert nodes.readiness() == SILENT
    nodes.start_rubelet()
    nodes.world.run_for(5)
    assert nodes.readiness() == READY


# Without an apiserver


def settle(nodes: NodeWorld) -> int:
    """An apiserver, a rubelet and a running unit; the unit's pid."""
    nodes.start_apiserver()
    nodes.start_rubelet()
    nodes.world.run_for(2)
    nodes.put("web", unit())
    nodes.world.run_for(3)
    pid: int = nodes.seen("web").status.main_pid
    assert pid
    return pid


def stop_apiserver(nodes: NodeWorld) -> None:
    process = nodes.machine("api-1").host.process("apiserver")
    assert process is not None
    process.kill()


def kill_rubelet(nodes: NodeWorld) -> None:
    process = nodes.machine(NODE).host.process("rubelet")
    assert process is not None
    process.kill()


def test_killed_and_restarted_the_rubelet_adopts_what_runs(nodes: NodeWorld) -> None:
    pid = settle(nodes)
    kill_rubelet(nodes)
    nodes.start_rubelet()
    nodes.world.run_for(10)
    assert nodes.seen("web").status.main_pid == pid


def test_a_graceful_stop_leaves_units_running(nodes: NodeWorld) -> None:
    pid = settle(nodes)
    rubelet = nodes.machine(NODE).host.process("rubelet")
    assert rubelet is not None
    rubelet.stop()
    nodes.world.run_for(5)
    assert not rubelet.alive
    assert nodes.seen("web").status.main_pid == pid
    nodes.start_rubelet()
    nodes.world.run_for(5)
    assert nodes.seen("web").status.main_pid == pid


def test_with_the_apiserver_away_at_boot_the_units_start(nodes: NodeWorld) -> None:
    settle(nodes)
    stop_apiserver(nodes)
    host = nodes.machine(NODE).host
    host.power_off()
    nodes.world.run_for(10)
    assert nodes.seen("web").status.active_state == "inactive"
    host.power_on()
    nodes.start_rubelet()
    nodes.world.run_for(10)
    assert nodes.seen("web").status.active_state == "active"
    asked_locally = nodes.status("web", target=f"{NODE}:7824")
    assert asked_locally.active_state == "active"
    assert asked_locally.main_pid == nodes.seen("web").status.main_pid


def test_a_unit_that_ended_before_the_reboot_is_started_by_it(nodes: NodeWorld) -> None:
    settle(nodes)
    nodes.services_of(NODE).crash("rube-default.web.service")
    nodes.world.run_for(5)
    assert nodes.status("web").active_state == "failed", "its restart policy says no"
    host = nodes.machine(NODE).host
    host.power_off()
    host.power_on()
    nodes.start_rubelet()
    nodes.world.run_for(5)
    assert nodes.seen("web").status.active_state == "active"


def test_what_was_deleted_while_the_node_was_cut_off_is_removed_after_it(nodes: NodeWorld) -> None:
    settle(nodes)
    nodes.put("other", unit())
    nodes.world.run_for(3)
    kill_rubelet(nodes)
    nodes.delete("web")
    nodes.start_rubelet()
    nodes.world.run_for(5)
    assert not nodes.seen("web").installed
    assert nodes.seen("other").status.active_state == "active"


def test_what_a_lost_data_directory_knew_of_is_removed_only_once_the_list_is_whole(nodes: NodeWorld) -> None:
    """Nothing but the machine itself remembers the orphan; with no list to compare with it is left alone."""
    settle(nodes)
    nodes.put("other", unit())
    nodes.world.run_for(3)
    pid = nodes.seen("other").status.main_pid
    kill_rubelet(nodes)
    nodes.delete("web")
    stop_apiserver(nodes)
    nodes.machines[NODE] = make_machine(nodes.world, nodes.fabric, nodes.machine(NODE).host)
    nodes.start_rubelet()
    nodes.world.run_for(30)
    assert nodes.seen("web").installed
    nodes.start_apiserver()
    nodes.world.run_for(100)  # the lost directory's lease has to lapse
    assert not nodes.seen("web").installed
    assert nodes.seen("other").status.main_pid == pid, "adopted, not restarted"


def test_what_happened_while_the_apiserver_was_away_is_reported_after_it(nodes: NodeWorld) -> None:
    settle(nodes)
    stop_apiserver(nodes)
    nodes.world.run_for(2)
    nodes.services_of(NODE).crash("rube-default.web.service")
    nodes.world.run_for(60)
    revisions = nodes.decided  # decisions go on
    assert any(decided.key == unit_key("web") for decided in revisions)
    nodes.start_apiserver()
    nodes.world.run_for(10)
    assert nodes.status("web").active_state == "failed"
    assert "failed (" in nodes.status("web").message


def test_status_is_reported_once_after_the_reconnect(nodes: NodeWorld) -> None:
    settle(nodes)
    writes: list[int] = []

    async def watch(client: Client) -> None:
        request = WatchRequest(type="api.systemd.Unit", send_initial=True)
        async for response in client.watch(request):
            writes.extend(event.update.metadata.revision for event in response.events if event.HasField("update"))

    stop_apiserver(nodes)
    nodes.world.run_for(2)
    nodes.services_of(NODE).crash("rube-default.web.service")
    nodes.world.run_for(60)
    process = nodes.machine(NODE).host.process("rubelet")
    assert process is not None
    nodes.start_apiserver()

    async def observe() -> None:
        async with Client(nodes.machine("desk").ports, ["api-1:7823"]) as client:
            await watch(client)

    nodes.machine("desk").host.spawn("watch", observe)
    nodes.world.run_for(30)
    assert len(writes) <= 2, "the state before, and one report"
    assert nodes.status("web").active_state == "failed"


def test_a_wiped_store_is_relisted_and_orphans_are_removed(nodes: NodeWorld) -> None:
    """The other store has another id: what it does not know is no longer wanted."""
    settle(nodes)
    stop_apiserver(nodes)
    nodes.machines["api-1"] = make_machine(nodes.world, nodes.fabric, nodes.machine("api-1").host)
    nodes.start_apiserver()
    nodes.world.run_for(15)
    assert not nodes.seen("web").installed
    assert nodes.readiness() == READY, "it registered again"


# Names


def test_a_second_rubelet_of_a_live_name_is_refused(nodes: NodeWorld) -> None:
    pid = settle(nodes)
    second = nodes.start_rubelet(NODE, on="impostor", crash_is_failure=False)
    nodes.world.run_for(30)
    assert isinstance(second.exception, AlreadyExistsError)
    assert "node name 'worker-1' is in use by another rubelet" in str(second.exception)
    assert not nodes.services_of("impostor").names(), "it touched nothing"
    assert nodes.seen("web").status.main_pid == pid


def test_a_name_whose_rubelet_fell_silent_is_taken_over(nodes: NodeWorld) -> None:
    settle(nodes)
    nodes.machine(NODE).host.power_off()
    nodes.start_rubelet(NODE, on="spare")
    nodes.world.run_for(30)
    assert not nodes.services_of("spare").names()
    nodes.world.run_for(30)
    assert nodes.services_of("spare").names() == ["rube-default.web.service"]
    lease = Lease()
    nodes.get(node_lease_key(NODE)).spec.Unpack(lease)
    assert lease.term == 2


def test_a_data_directory_belongs_to_one_node(nodes: NodeWorld) -> None:
    settle(nodes)
    kill_rubelet(nodes)
    other = nodes.start_rubelet("worker-2", on=NODE, crash_is_failure=False)
    nodes.world.run_for(5)
    assert isinstance(other.exception, FailedPreconditionError)
    assert "belongs to node 'worker-1'" in str(other.exception)


# The node's own API


def test_the_nodes_copy_refuses_writes_and_says_where_to_turn(nodes: NodeWorld) -> None:
    settle(nodes)
    request = DeleteRequest(keys=[unit_key("web").to_proto()])
    with pytest.raises(FailedPreconditionError, match="read-only copy of node worker-1"):
        nodes.call(lambda client: client.delete(request), f"{NODE}:7824")
    with pytest.raises(NotFoundError, match="not in the copy of node worker-1"):
        nodes.get(unit_key("nothing"), target=f"{NODE}:7824")


def test_the_nodes_copy_is_listed_and_watched(nodes: NodeWorld) -> None:
    settle(nodes)
    events: list[str] = []

    async def watch() -> None:
        async with Client(nodes.machine("desk").ports, [f"{NODE}:7824"]) as client:
            request = WatchRequest(type="api.systemd.Unit", namespace="default", send_initial=True)
            async for response in client.watch(request):
                for event in response.events:
                    kind = str(event.WhichOneof("event"))
                    name = "" if kind == "bookmark" else getattr(event, kind).metadata.name
                    events.append(f"{kind} {name}".strip())

    nodes.machine("desk").host.spawn("watch", watch)
    nodes.world.run_for(1)
    assert events == ["update web", "bookmark"]
    nodes.put("other", unit())
    nodes.world.run_for(2)
    assert "update other" in events
    nodes.delete("web")
    nodes.world.run_for(2)
    assert events.count("delete web") == 1


# Disks


def test_with_a_full_disk_units_go_on_and_work_resumes_with_room(nodes: NodeWorld) -> None:
    pid = settle(nodes)
    nodes.machine(NODE).disk.fill()
    nodes.put("other", unit())
    nodes.world.run_for(30)
    rubelet = nodes.machine(NODE).host.process("rubelet")
    assert rubelet is not None
    assert rubelet.alive
    assert nodes.seen("web").status.main_pid == pid
    assert not nodes.seen("other").installed
    nodes.machine(NODE).disk.free()
    nodes.world.run_for(40)
    assert nodes.status("other").active_state == "active"
