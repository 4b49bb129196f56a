"""Requests to restart a unit: each is carried out once, in order, whenever the rubelet dies and whatever it forgets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rube.api import PutRequest
from rube.api.well_known import RESTART_ANNOTATION
from rube.client import Client
from rube.sim.world.kernel import World
from tests.simulation.killed_steps import SteppedDriver, SteppedStorage, Steps, count_starts
from tests.simulation.node_world import NODE, NodeWorld, unit, unit_key

FATAL_MAX = 80
"""The fatal points of a run without a kill; a test below says that all of them are tried."""


def ask(nodes: NodeWorld, request: str) -> None:
    obj = nodes.get(unit_key("web"))
    obj.metadata.annotations[RESTART_ANNOTATION] = request

    async def put(client: Client) -> None:
        await client.put(PutRequest(objects=[obj]))

    nodes.call(put)


def start_stepped(nodes: NodeWorld, steps: Steps) -> None:
    nodes.start_rubelet(
        driver=lambda driver: SteppedDriver(driver, steps),  # type: ignore[arg-type, return-value]
        ports=lambda host: replace(host, storage=SteppedStorage(host, steps)),
    )


def run_killed_at(fatal: int) -> tuple[int, int]:
    """A unit is put and restarted twice, with a kill -9 of the rubelet at a step; gives (steps, starts of the unit)."""
    steps = Steps(fatal)
    with World(seed=11) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)
        start_stepped(nodes, steps)
        for act in (lambda: nodes.put("web", unit()), lambda: ask(nodes, "first"), lambda: ask(nodes, "second")):
            act()  # type: ignore[no-untyped-call]  # whatever the test is given
            world.run_for(3)
            if nodes.machine(NODE).host.process("rubelet") is None:
                start_stepped(nodes, steps)
                world.run_for(3)
        world.run_for(5)
        status = nodes.status("web")
        assert (status.active_state, status.restart_request) == ("active", "second")
        assert status.main_pid == nodes.seen("web").status.main_pid
        return steps.taken, len(starts)


@pytest.mark.parametrize("fatal", range(1, FATAL_MAX))
def test_killed_at_any_step_a_unit_is_restarted_once_for_each_request(fatal: int) -> None:
    assert run_killed_at(fatal)[1] == 3


def test_the_kills_cover_every_step() -> None:
    steps, starts = run_killed_at(0)
    assert 30 <= steps < FATAL_MAX
    assert starts == 3


@pytest.mark.parametrize("fatal", range(1, FATAL_MAX))
def test_a_request_that_comes_while_the_last_one_is_half_done_is_carried_out(fatal: int) -> None:
    steps = Steps(fatal)
    with World(seed=11) as world:
        nodes = NodeWorld(world)
        nodes.start_apiserver(controllers=False)
        start_stepped(nodes, steps)
        nodes.put("web", unit())
        world.run_for(3)
        ask(nodes, "first")
        world.run_for(3)
        before = nodes.seen("web").status.main_pid
        ask(nodes, "second")
        if nodes.machine(NODE).host.process("rubelet") is None:
            start_stepped(nodes, steps)
        world.run_for(6)
        if nodes.machine(NODE).host.process("rubelet") is None:
            start_stepped(nodes, steps)
            world.run_for(6)
        assert nodes.seen("web").status.main_pid not in (0, before)


def test_requests_that_came_while_the_node_was_away_are_one_restart() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)
        rubelet = nodes.start_rubelet()
        nodes.put("web", unit())
        world.run_for(3)
        rubelet.kill()
        ask(nodes, "first")
        ask(nodes, "second")
        nodes.start_rubelet()
        world.run_for(5)
        assert len(starts) == 2
        assert nodes.status("web").restart_request == "second"


def test_a_rubelet_that_lost_its_data_restarts_nothing_again() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)
        rubelet = nodes.start_rubelet()
        nodes.put("web", unit())
        world.run_for(3)
        ask(nodes, "first")
        world.run_for(5)
        rubelet.kill()
        nodes.start_rubelet(ports=lambda host: replace(host, storage=_Elsewhere(host)))  # type: ignore[arg-type]
        world.run_for(120)
        assert len(starts) == 2
        ask(nodes, "second")
        world.run_for(5)
        assert len(starts) == 3, "the new rubelet is at work"


def test_a_file_that_is_put_again_takes_no_request_back() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)
        nodes.start_rubelet()
        nodes.put("web", unit())
        world.run_for(3)
        ask(nodes, "first")
        nodes.put("web", unit())
        world.run_for(5)
        assert nodes.get(unit_key("web")).metadata.annotations[RESTART_ANNOTATION] == "first"
        assert len(starts) == 2


class _Elsewhere:
    """Another database, as after the first was removed."""

    def __init__(self, host: object) -> None:
        self._storage = host.storage  # type: ignore[attr-defined]

    async def open(self, url: str, *, read_only: bool = False) -> object:
        return await self._storage.open(url.replace("rubelet", "other"), read_only=read_only)
