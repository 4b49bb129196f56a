"""kill -9 between any two steps of a decision's life: delivery is at least once, the effect once."""

from __future__ import annotations

import pytest

from rube.api import Decision, Object, PutRequest, PutResponse, State, UpdateStatusRequest, UpdateStatusResponse
from rube.api.keys import ObjectKey, key_of
from rube.controllers.contract import Input, View
from rube.sim.world.kernel import World
from tests.simulation.killed_steps import SteppedDriver, SteppedEngine, Steps
from tests.unit.controllers.cluster_fake import UNIT, FakeCluster, text_any, unit_object, word
from tests.unit.controllers.runtime_bench import Bench

KEY = key_of(unit_object("web"))
CHILD = key_of(unit_object("child"))
STEPS_MAX = 26


class SteppedCalls:
    def __init__(self, inner: FakeCluster, steps: Steps) -> None:
        self._inner, self._steps = inner, steps
        self.delete, self.patch, self.apply = inner.delete, inner.patch, inner.apply

    async def put(self, request: PutRequest) -> PutResponse:
        await self._steps.step()
        response = await self._inner.put(request)
        await self._steps.step()
        return response

    async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse:
        await self._steps.step()
        response = await self._inner.update_status(request)
        await self._steps.step()
        return response


def decide(state: State) -> Decision:
    """Starts the thing once (it counts its starts), creates a child once, and reports."""
    decision = Decision(memory=text_any("started"))
    if not state.HasField("object") or state.key.name != "web":
        return Decision()
    if word(state.memory) != "started":
        for action in ("web=one", "log=two"):
            decision.actions.add().action.CopyFrom(text_any(action))
    if not state.related:
        put = decision.calls.add().put
        put.objects.append(unit_object("child"))
        put.preconditions.add(key=CHILD.to_proto(), absent=True)
    if word(state.object.status) != "up":
        status = decision.calls.add().update_status
        status.key.CopyFrom(state.key)
        status.uid = state.object.metadata.uid
        status.status.CopyFrom(text_any("up"))
    return decision


def child_of(key: ObjectKey, obj: Object | None, view: View) -> list[Object]:
    child = view.get(CHILD)
    return [] if child is None else [child]


CHILDREN = Input(type=UNIT, requeue=lambda related, view: [KEY], select=child_of)


def run(fatal: int) -> tuple[Bench, Steps]:
    steps = Steps(fatal)
    with World(seed=1) as world:
        bench = Bench(world, decide, driven=True)
        bench.inputs = (CHILDREN,)
        bench.cluster.add(unit_object("web"))
        bench.wrap_engine = lambda engine: SteppedEngine(engine, steps)  # type: ignore[assignment, return-value]
        bench.wrap_driver = lambda driver: SteppedDriver(driver, steps)  # type: ignore[arg-type]
        bench.wrap_calls = lambda cluster: SteppedCalls(cluster, steps)
        process = bench.start()
        bench.run_for(5)
        if not process.alive:
            bench.start()
            bench.run_for(5)
        left = bench.runtime._outbox.get(KEY).left if bench.runtime else Decision()
        assert not left.actions
        assert not left.calls
    return bench, steps


@pytest.mark.parametrize("fatal", range(1, STEPS_MAX))
def test_killed_at_any_step_the_effects_are_there_once(fatal: int) -> None:
    bench, _ = run(fatal)
    assert bench.driver.applied == ["web=one", "log=two"], "each action once, in order"
    assert word(bench.cluster.objects[KEY].status) == "up"
    assert bench.cluster.objects[CHILD].metadata.create_revision == bench.cluster.objects[CHILD].metadata.revision


def test_the_matrix_covers_every_step() -> None:
    _, steps = run(0)
    assert 12 <= steps.taken < STEPS_MAX
