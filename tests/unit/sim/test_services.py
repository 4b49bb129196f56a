"""The simulated service manager: whose units they are, and what each fault takes."""

from __future__ import annotations

from collections.abc import Callable

from rube.api import Action, Service, Unit, UnitAction, UnitObservation
from rube.sim.units.service_manager import SimServiceDriver, SimServiceManager
from rube.sim.units.unit import Behaviour
from rube.sim.world.kernel import SimHost, World
from rube.units.service.policy import CLD_EXITED, Exit

Ensure = UnitAction.Ensure
NAME = "rube-test.one.service"


def make_unit() -> Unit:
    unit = Unit()
    unit.service.exec.start.append("/bin/server")
    unit.service.restart = Service.ON_FAILURE
    unit.service.time.restart = 1
    return unit


def start(world: World, host: SimHost, manager: SimServiceManager, unit: Unit | None = None) -> None:
    async def main() -> None:
        action = Action(id="a1")
        action.action.Pack(
            UnitAction(unit=NAME, ensure=Ensure(spec=unit or make_unit(), uid="u", generation=1, run=Ensure.START))
        )
        await SimServiceDriver(host.clock, manager).apply(action)

    world.run(main, host=host)


def sub_state(manager: SimServiceManager) -> str:
    return manager.observation(NAME).status.sub_state


def with_world(body: Callable[[World, SimHost, SimServiceManager], None]) -> str:
    with World(seed=7) as world:
        host = world.host("node-1", drift_ppm=100)
        body(world, host, SimServiceManager(host))
        return world.trace.digest()


def test_a_unit_outlives_the_process_that_started_it() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)
        assert sub_state(manager) == "running"
        world.run_for(100)
        assert sub_state(manager) == "running"

    with_world(body)


def test_power_loss_takes_what_runs_and_leaves_what_is_on_disk() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)
        host.power_off()
        host.power_on()
        seen = manager.observation(NAME)
        assert (seen.installed, seen.uid, seen.status.sub_state, seen.last_action_id) == (True, "u", "dead", "a1")

    with_world(body)


def test_a_crash_is_followed_by_a_restart_after_its_pause() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)
        manager.crash(NAME)
        assert sub_state(manager) == "auto-restart"
        world.run_for(1.1)
        seen = manager.observation(NAME)
        assert (seen.status.sub_state, seen.status.restarts, seen.status.exit_status) == ("running", 1, 0)

    with_world(body)


def test_a_paused_host_restarts_nothing() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)
        manager.crash(NAME)
        host.pause()
        world.run_for(10)
        assert sub_state(manager) == "auto-restart"
        host.resume()
        world.run_for(0.1)
        assert sub_state(manager) == "running"

    with_world(body)


def test_what_is_removed_by_hand_is_absent_and_said_so() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        told: list[str] = []
        manager.on_change(told.append)
        start(world, host, manager)
        told.clear()
        manager.remove_by_hand(NAME)
        assert told == [NAME]
        assert not manager.observation(NAME).installed
        world.run_for(10)
        assert manager.names() == []

    with_world(body)


def test_behaviour_is_by_unit_and_from_the_next_start_on() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        manager.behave(NAME, Behaviour(exits_after_s=2, exit=Exit(CLD_EXITED, 9)))
        unit = make_unit()
        unit.service.restart = Service.NO
        start(world, host, manager, unit)
        world.run_for(1.9)
        assert sub_state(manager) == "running"
        world.run_for(0.2)
        assert manager.observation(NAME).status.exit_status == 9

    with_world(body)


def test_a_forking_unit_that_never_forks_runs_into_its_timeout() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        unit = make_unit()
        unit.service.type = Service.FORKING
        unit.service.restart = Service.NO
        unit.service.time.timeout = 5
        manager.behave(NAME, Behaviour(never_forks=True))
        start(world, host, manager, unit)
        assert sub_state(manager) == "start"
        world.run_for(5.5)
        seen = manager.observation(NAME)
        assert (seen.status.sub_state, seen.status.result) == ("failed", "timeout")

    with_world(body)


def test_each_change_of_a_unit_is_in_the_trace() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)
        manager.crash(NAME)
        world.run_for(2)
        states = [record.fields[3] for record in world.trace.records if record.kind == "unit"]
        assert states == ["running", "auto-restart", "running"]

    assert with_world(body) == with_world(body)


def test_a_killed_rubelets_listener_is_forgotten() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        seen: list[str] = []

        async def rubelet() -> None:
            async for name in SimServiceDriver(host.clock, manager).changes():
                seen.append(name)

        start(world, host, manager)
        process = host.spawn("rubelet", rubelet)
        world.run_for(1)
        manager.crash(NAME)
        world.run_for(0.1)
        assert seen == [NAME, NAME]
        process.kill()
        assert manager._listeners == []
        world.run_for(5)
        assert seen == [NAME, NAME]

    with_world(body)


def test_an_observation_is_the_units_message() -> None:
    def body(world: World, host: SimHost, manager: SimServiceManager) -> None:
        start(world, host, manager)

        async def main() -> UnitObservation:
            observation = UnitObservation()
            assert (await SimServiceDriver(host.clock, manager).observe(NAME)).Unpack(observation)
            return observation

        assert world.run(main, host=host) == manager.observation(NAME)

    with_world(body)
