"""The runtime's way through failures of the driver and of the local disk: nothing is lost, and it goes on by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from rube.api import Decision, State
from rube.api.errors import ResourceExhaustedError
from rube.api.keys import key_of
from rube.host import Engine, Write
from rube.sim.world.kernel import World
from tests.unit.controllers.cluster_fake import away, text_any, unit_object, word
from tests.unit.controllers.runtime_bench import Bench, FakeDriver

KEY = key_of(unit_object("web"))


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=1) as made:
        yield made


def up(state: State) -> Decision:
    """Wants the thing up if there is an object, and gone without."""
    decision = Decision()
    wanted = "up" if state.HasField("object") else ""
    if word(state.observed) != wanted:
        decision.actions.add().action.CopyFrom(text_any(f"{state.key.name}={wanted}"))
    return decision


def test_an_action_that_hangs_is_given_up_in_time_and_the_next_state_says_so(world: World) -> None:
    errors: list[str] = []

    def decide(state: State) -> Decision:
        errors.append(state.action_error)
        return up(state)

    bench = Bench(world, decide, driven=True, strict=False)
    bench.cluster.add(unit_object("web"))
    bench.driver.slow.add("web")
    bench.start()
    bench.run_for(61)
    bench.driver.slow.clear()
    bench.run_for(70)  # the second attempt hangs, too
    assert errors[:2] == ["", "not done within 60 s (action_s_max)"]
    assert bench.driver.things == {"web": "up"}


class _Deaf(FakeDriver):
    """Loses its hints at once, as often as `losses` says."""

    def __init__(self, losses: int) -> None:
        super().__init__()
        self.losses = losses

    async def changes(self) -> AsyncIterator[str]:
        if self.losses:
            self.losses -= 1
            raise away()
        async for name in super().changes():
            yield name


def test_hints_that_were_lost_are_made_up_for_and_taken_up_again(world: World) -> None:
    bench = Bench(world, up, driven=True)
    bench.driver = _Deaf(losses=3)
    bench.start()
    bench.run_for(0.5)
    bench.driver.things["orphan"] = "runs"  # without a hint
    bench.run_for(1)
    assert bench.driver.things == {}
    bench.run_for(5)
    bench.driver.change("late", "runs")
    bench.run_for(0.5)
    assert bench.driver.things == {}, "the hints are followed again"


class _Unlisted(FakeDriver):
    """Cannot say for a while which things there are."""

    failures = 2

    async def list(self) -> Sequence[str]:
        if self.failures:
            self.failures -= 1
            raise away()
        return await super().list()


def test_a_machine_that_cannot_be_listed_is_asked_again(world: World) -> None:
    bench = Bench(world, up, driven=True)
    bench.driver = _Unlisted()
    bench.driver.things["orphan"] = "runs"
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(1)
    assert bench.driver.things == {"orphan": "runs", "web": "up"}
    bench.run_for(240)
    assert bench.driver.things == {"web": "up"}


class _Filling:
    """An engine whose disk is full for those commits, by their numbers."""

    def __init__(self, engine: Engine, full: set[int]) -> None:
        self._engine = engine
        self._full = full
        self.commits = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def commit(self, batch: Sequence[Write]) -> None:
        self.commits += 1
        if self.commits in self._full:
            raise ResourceExhaustedError("the disk is full")
        await self._engine.commit(batch)


def _report(state: State) -> Decision:
    decision = Decision()
    if state.HasField("object") and word(state.object.status) != "up":
        call = decision.calls.add().update_status
        call.key.CopyFrom(state.key)
        call.uid = state.object.metadata.uid
        call.status.CopyFrom(text_any("up"))
    return decision


def _filling(world: World, full: set[int]) -> Bench:
    bench = Bench(world, _report, strict=False)
    bench.wrap_engine = lambda engine: _Filling(engine, full)  # type: ignore[assignment, return-value]
    bench.cluster.add(unit_object("web"))
    return bench


def test_a_decision_that_finds_the_disk_full_is_made_again(world: World) -> None:
    bench = _filling(world, {1})
    bench.start()
    bench.run_for(10)
    assert word(bench.cluster.objects[KEY].status) == "up"
    assert bench.cluster.calls == ["update_status"]


def test_a_call_that_could_not_be_noted_as_sent_is_sent_again(world: World) -> None:
    """The cache does not show the call's effect meanwhile, so nothing else wakes the key."""
    bench = _filling(world, {2})
    bench.cluster.live = False
    bench.start()
    bench.run_for(10)
    assert bench.cluster.calls == ["update_status"] * 2
    assert bench.runtime is not None
    assert not bench.runtime._outbox.has_calls(KEY)
