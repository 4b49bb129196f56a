"""kill -9 of a rubelet between any two steps: units are started once, and reported."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rube.api import Action
from rube.api.errors import ResourceExhaustedError
from rube.controllers.driver import Driver
from rube.sim.world.kernel import World
from tests.simulation.killed_steps import SteppedDriver, SteppedStorage, Steps, count_starts
from tests.simulation.node_world import NODE, NodeWorld, unit


def run_killed_at(fatal: int) -> tuple[int, int]:
    """Puts two units and deletes one, with a kill -9 of the rubelet at a step; gives (steps, starts of the unit)."""
    steps = Steps(fatal)
    with World(seed=11) as world:
        nodes = NodeWorld(world)
        starts = count_starts(nodes)
        nodes.start_apiserver(controllers=False)

        def start() -> None:
            nodes.start_rubelet(
                driver=lambda driver: SteppedDriver(driver, steps),  # type: ignore[arg-type, return-value]
                ports=lambda host: replace(host, storage=SteppedStorage(host, steps)),
            )

        start()
        for act in (lambda: nodes.put("web", unit()), lambda: nodes.put("gone", unit()), lambda: nodes.delete("gone")):
            act()  # type: ignore[no-untyped-call]  # whatever the test is given
            world.run_for(3)
            if nodes.machine(NODE).host.process("rubelet") is None:
                start()
                world.run_for(3)
        world.run_for(5)
        assert nodes.status("web").active_state == "active"
        assert nodes.status("web").main_pid == nodes.seen("web").status.main_pid
        assert not nodes.seen("gone").installed
        return steps.taken, len(starts)


def test_a_unit_deleted_before_its_start_succeeded_is_never_started() -> None:
    with World(seed=1) as world:
        nodes = NodeWorld(world)
        nodes.start_apiserver()
        broken = Broken()
        nodes.start_rubelet(driver=broken.wrap)
        starts = count_starts(nodes)
        nodes.put("web", unit())
        world.run_for(5)
        assert nodes.status("web").message == "no space left"
        nodes.delete("web")
        world.run_for(1)
        broken.is_broken = False
        world.run_for(120)
        assert starts == []


class Broken:
    """A driver that can carry out nothing as long as it is broken."""

    def __init__(self) -> None:
        self.is_broken = True

    def wrap(self, driver: Driver) -> Driver:
        apply = driver.apply

        async def maybe(action: Action) -> None:
            if self.is_broken:
                raise ResourceExhaustedError("no space left")
            await apply(action)

        driver.apply = maybe  # type: ignore[method-assign, assignment]
        return driver


FATAL_MAX = 58


@pytest.mark.parametrize("fatal", range(1, FATAL_MAX))
def test_killed_at_any_step_units_are_started_once_and_reported(fatal: int) -> None:
    _, starts = run_killed_at(fatal)
    assert starts == 1


def test_the_kills_cover_every_step() -> None:
    steps, starts = run_killed_at(0)
    assert 20 <= steps < FATAL_MAX
    assert starts == 1
