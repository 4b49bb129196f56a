"""The runtime's pace: nothing waits behind what hangs, and nothing spins."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from rube.api import Decision, State, UpdateStatusRequest, UpdateStatusResponse
from rube.api.keys import key_of
from rube.sim.world.kernel import World
from tests.unit.controllers.cluster_fake import FakeCluster, away, text_any, unit_object, word
from tests.unit.controllers.runtime_bench import Bench

KEY = key_of(unit_object("web"))


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=1) as made:
        yield made


def run_and_report(state: State) -> Decision:
    """Wants every thing up, and none without an object; reports why not."""
    decision = Decision(memory=text_any("known"))
    name = state.key.name
    if not state.HasField("object"):
        decision = Decision()
        if word(state.observed):
            decision.actions.add().action.CopyFrom(text_any(f"{name}="))
        return decision
    if word(state.observed) != "up":
        decision.actions.add().action.CopyFrom(text_any(f"{name}=up"))
    status = state.action_error or word(state.observed)
    if word(state.object.status) != status:
        call = decision.calls.add().update_status
        call.key.CopyFrom(state.key)
        call.uid = state.object.metadata.uid
        call.status.CopyFrom(text_any(status))
    return decision


def test_hanging_actions_hold_up_no_other_key(world: World) -> None:
    bench = Bench(world, run_and_report, driven=True)
    for number in range(100):
        bench.cluster.add(unit_object(f"hangs{number}"))
        bench.driver.slow.add(f"hangs{number}")
    bench.start()
    bench.run_for(1)
    bench.cluster.add(unit_object("web"))
    bench.run_for(4)
    assert bench.driver.things == {"web": "up"}


def test_removals_under_way_hold_up_no_other_key(world: World) -> None:
    bench = Bench(world, run_and_report, driven=True)
    names = [f"stops{number}" for number in range(40)]
    for name in names:
        bench.driver.things[name] = "up"
        bench.driver.stopping.add(name)
    bench.start()
    bench.run_for(20)
    bench.cluster.add(unit_object("web"))
    bench.run_for(1)
    assert bench.driver.things["web"] == "up"
    assert len(bench.driver.tries) < 40 * 12, "it asks ever more slowly"


def test_a_removal_is_finished_as_soon_as_the_thing_has_changed(world: World) -> None:
    bench = Bench(world, run_and_report, driven=True)
    bench.driver.things["web"] = "up"
    bench.driver.stopping.add("web")
    bench.start()
    bench.run_for(300)
    bench.driver.stopping.clear()
    bench.driver.change("web", "down")
    bench.run_for(0.5)
    assert bench.driver.things == {}
    assert bench.driver.applied == ["web="]


def test_calls_that_hang_hold_up_no_other_keys_calls(world: World) -> None:
    class Hanging(FakeCluster):
        async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse:
            if request.key.name != "web":
                await world.loop.create_future()
            return await bench.cluster.update_status(request)

    bench = Bench(world, run_and_report, driven=True)
    bench.wrap_calls = lambda cluster: Hanging()
    for number in range(30):
        bench.cluster.add(unit_object(f"hangs{number}"))
    bench.start()
    bench.run_for(1)
    bench.cluster.add(unit_object("web"))
    bench.run_for(3)
    assert word(bench.cluster.objects[KEY].status) == "up"


def test_a_failing_attempt_that_changes_the_thing_backs_off_all_the_same(world: World) -> None:
    bench = Bench(world, run_and_report, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.wakes_itself = True
    bench.driver.errors += [away()] * 1000
    bench.start()
    bench.run_for(40)
    assert 5 <= len(bench.driver.tries) <= 20, bench.driver.tries
    assert word(bench.cluster.objects[KEY].status) == "the apiserver is away", "and the reason is reported"


def test_an_action_that_takes_no_effect_is_repeated_ever_more_slowly_though_it_changes_the_thing(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        for each in ("web=one", "web=two"):
            decision.actions.add().action.CopyFrom(text_any(each))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.wakes_itself = True
    bench.start()
    bench.run_for(60)
    assert len(bench.driver.applied) < 50


def test_another_action_does_not_wait_for_the_delay_of_the_one_that_failed(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        wanted = f"web={state.object.metadata.generation}"
        if word(state.observed) != wanted.partition("=")[2]:
            decision.actions.add().action.CopyFrom(text_any(wanted))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.errors += [away()] * 100
    bench.start()
    bench.run_for(20)
    assert not bench.driver.applied
    bench.driver.errors.clear()
    bench.cluster.add(unit_object("web", "/bin/other"))
    bench.run_for(0.5)
    assert bench.driver.things == {"web": "2"}


@pytest.mark.parametrize("nanoseconds", [0, 1, -5, 1_000_000])
def test_a_wake_after_that_is_too_short_does_not_spin_and_is_said_once(
    world: World, nanoseconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        decision.wake_after.FromNanoseconds(nanoseconds)
        return decision

    bench = Bench(world, decide)
    for name in ("api", "web"):
        bench.cluster.add(unit_object(name))
    bench.start()
    with caplog.at_level(logging.WARNING, "rube.controllers"):
        bench.run_for(30)
    assert 2 * 250 < len(bench.decided) < 2 * 320
    assert len([line for line in caplog.messages if "wake_s_min" in line]) == 1
