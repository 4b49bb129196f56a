"""The runtime: when a key is decided, and what becomes of what was decided."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rube.api import (
    ApplyRequest,
    Decision,
    Metadata,
    Node,
    Object,
    PatchRequest,
    State,
    UpdateStatusRequest,
    UpdateStatusResponse,
)
from rube.api.errors import AbortedError, InvalidArgumentError
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import NODE_TYPE
from rube.controllers.contract import ImpureControllerError, Input, View
from rube.sim.world.kernel import SimulationFailures, World, describe
from tests.unit.controllers.cluster_fake import FakeCluster, away, text_any, unit_object, word
from tests.unit.controllers.runtime_bench import Bench

KEY = key_of(unit_object("web"))


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=1) as made:
        yield made


def report(state: State, status: str) -> Decision:
    """Asks for that status if the object hasn't it."""
    decision = Decision()
    if state.HasField("object") and word(state.object.status) != status:
        call = decision.calls.add().update_status
        call.key.CopyFrom(state.key)
        call.uid = state.object.metadata.uid
        call.status.CopyFrom(text_any(status))
    return decision


def status_of(cluster: FakeCluster) -> str:
    return word(cluster.objects[KEY].status)


def test_every_object_is_decided_at_the_start_and_a_changed_one_again(world: World) -> None:
    bench = Bench(world, lambda state: Decision())
    bench.cluster.add(unit_object("api"))
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(1)
    assert sorted(decided.key.name for decided in bench.decided) == ["api", "web"]
    bench.cluster.add(unit_object("web", "/bin/other"))
    bench.run_for(1)
    assert [decided.key.name for decided in bench.decided][2:] == ["web"]


def test_nothing_is_decided_before_the_copy_is_whole(world: World) -> None:
    bench = Bench(world, lambda state: Decision(), driven=True)
    bench.cluster.cache.synced = False
    bench.driver.things["web"] = "runs"
    bench.start()
    bench.run_for(10)
    assert bench.decided == []
    bench.cluster.cache.synced = True
    bench.cluster.cache.connect(True)
    bench.cluster.add(unit_object("web"))
    bench.run_for(1)
    assert bench.decided


def test_a_key_is_not_decided_until_the_cache_shows_its_own_write(world: World) -> None:
    seen: list[tuple[int, str]] = []

    def decide(state: State) -> Decision:
        seen.append((state.object.metadata.generation, word(state.object.status)))
        return report(state, f"for {state.object.metadata.generation}")

    bench = Bench(world, decide, strict=False)
    bench.cluster.add(unit_object("web"))
    bench.cluster.live = False
    bench.start()
    bench.run_for(1)
    assert status_of(bench.cluster) == "for 1"
    # The cache gets an older change: still behind the write.
    bench.cluster.cache.become({KEY: bench.cluster.cache.objects[KEY]}, 1)
    bench.runtime._queue.add(KEY)
    bench.run_for(1)
    assert seen == [(1, "")]
    bench.cluster.publish()
    bench.run_for(1)
    assert seen == [(1, ""), (1, "for 1")]
    assert bench.cluster.calls == ["update_status"]


def test_a_bookmark_past_its_own_write_is_enough(world: World) -> None:
    """The object was deleted since, or never changed visibly: the position alone tells."""
    bench = Bench(world, lambda state: report(state, "up"), strict=False)
    bench.cluster.add(unit_object("web"))
    bench.cluster.live = False
    bench.start()
    bench.run_for(1)
    decided = len(bench.decided)
    bench.cluster.cache.become({}, 50)
    bench.run_for(1)
    assert len(bench.decided) == decided + 1


def test_the_gate_on_its_own_write_survives_a_restart(world: World) -> None:
    bench = Bench(world, lambda state: report(state, "up"))
    bench.cluster.add(unit_object("web"))
    bench.cluster.live = False
    process = bench.start()
    bench.run_for(1)
    process.kill()
    decided = len(bench.decided)
    bench.start()
    bench.run_for(1)
    assert len(bench.decided) == decided
    bench.cluster.publish()
    bench.run_for(1)
    assert len(bench.decided) == decided + 1


def test_with_the_server_away_actions_go_on_and_one_status_is_reported_afterwards(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = report(state, word(state.observed))
        if word(state.observed) == "down":
            decision.actions.add().action.CopyFrom(text_any("web=up"))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.things["web"] = "up"
    bench.start()
    bench.run_for(1)
    bench.cluster.cache.connect(False)
    calls = len(bench.cluster.calls)
    for state in ("down", "odd", "down", "strange"):
        bench.driver.change("web", state)
        bench.run_for(2)
    assert bench.driver.applied == ["web=up", "web=up"]
    assert len(bench.cluster.calls) == calls, "nothing was tried"
    bench.cluster.cache.connect(True)
    bench.run_for(1)
    assert bench.cluster.calls[calls:] == ["update_status"]
    assert status_of(bench.cluster) == "strange"


def test_a_server_that_hangs_holds_up_no_action(world: World) -> None:
    class Hanging(FakeCluster):
        async def update_status(self, request: UpdateStatusRequest) -> UpdateStatusResponse:
            await asyncio.Event().wait()
            raise AssertionError

    def decide(state: State) -> Decision:
        decision = report(state, "up")
        if word(state.observed) == "down":
            decision.actions.add().action.CopyFrom(text_any(f"{state.key.name}=up"))
        return decision

    bench = Bench(world, decide, driven=True)
    hanging = Hanging()
    bench.wrap_calls = lambda cluster: hanging
    for number in range(40):
        bench.cluster.add(unit_object(f"u{number}"))
    bench.start()
    bench.run_for(1)
    bench.driver.change("u39", "down")
    bench.run_for(11)
    assert bench.driver.things["u39"] == "up"


def test_on_aborted_the_calls_are_dropped_and_the_key_is_decided_again(world: World) -> None:
    bench = Bench(world, lambda state: report(state, f"for {state.object.spec.value.decode('latin1')}"))
    bench.cluster.add(unit_object("web"))
    bench.cluster.errors.append(AbortedError("stale"))
    bench.start()
    bench.run_for(1)
    assert bench.cluster.calls == ["update_status", "update_status"]
    assert len(bench.decided) >= 2


def test_what_the_server_refuses_for_good_backs_off(world: World) -> None:
    bench = Bench(world, lambda state: report(state, "up"))
    bench.cluster.add(unit_object("web"))
    bench.cluster.errors += [InvalidArgumentError("no such field")] * 1000
    bench.start()
    bench.run_for(30)
    assert 5 <= len(bench.cluster.calls) <= 15


def test_an_unavailable_server_gets_the_same_call_again_without_a_decision(world: World) -> None:
    bench = Bench(world, lambda state: report(state, "up"))
    bench.cluster.add(unit_object("web"))
    bench.cluster.errors += [away()] * 3
    bench.start()
    bench.run_for(5)
    assert bench.cluster.calls == ["update_status"] * 4
    assert status_of(bench.cluster) == "up"
    assert len(bench.decided) == 2, "at the start, and once the cache shows the status"


def test_a_failing_action_is_retried_with_its_id_until_it_is_done(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision(memory=text_any("asked"))
        if word(state.memory) != "asked":
            decision.actions.add().action.CopyFrom(text_any("web=up"))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.errors += [away()] * 5
    bench.start()
    bench.run_for(20)
    assert bench.driver.applied == ["web=up"]


def test_a_decision_that_acts_forever_does_so_ever_more_slowly(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        decision.actions.add().action.CopyFrom(text_any("web=up"))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(60)
    assert len(bench.driver.applied) < 30


def test_what_has_no_object_is_decided_too(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        if not state.HasField("object") and word(state.observed):
            decision.actions.add().action.CopyFrom(text_any(f"{state.key.name}="))
        return decision

    bench = Bench(world, decide, driven=True)
    bench.driver.things["orphan"] = "runs"
    bench.start()
    bench.run_for(5)
    assert bench.driver.things == {}


def test_wake_after_asks_again_though_nothing_changed(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        decision.wake_after.FromSeconds(3)
        return decision

    bench = Bench(world, decide)
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(10)
    assert len(bench.decided) == 4


def test_who_may_not_act_decides_nothing(world: World) -> None:
    bench = Bench(world, lambda state: report(state, "up"))
    bench.may_act = lambda: False
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(5)
    assert bench.decided == []
    assert bench.cluster.calls == []


def test_a_controller_that_fails_on_one_object_serves_the_others(world: World) -> None:
    def decide(state: State) -> Decision:
        if state.key.name == "bad":
            raise ValueError("a mistake")
        return report(state, "up")

    bench = Bench(world, decide, strict=False)
    bench.cluster.add(unit_object("bad"))
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(5)
    assert status_of(bench.cluster) == "up"


@pytest.mark.parametrize("error", [ValueError, TimeoutError, InvalidArgumentError])
@pytest.mark.parametrize("where", ["decide", "select"])
def test_a_mistake_of_a_controllers_ends_a_strict_runtime(world: World, where: str, error: type[Exception]) -> None:
    def mistake(*_: object) -> Any:
        raise error("a mistake")

    bench = Bench(world, mistake if where == "decide" else lambda state: Decision())
    if where == "select":
        bench.inputs = [Input(type=NODE_TYPE, requeue=lambda node, view: (), select=mistake)]
    bench.cluster.add(unit_object("web"))
    bench.start()
    with pytest.raises(SimulationFailures) as failures:
        bench.run_for(1)
    (cause,) = failures.value.causes
    assert describe(cause) == f"{error.__name__}: a mistake (controller words, deciding api.systemd.Unit/default/web)"


@pytest.mark.parametrize("strict", [False, True])
def test_a_mistake_in_what_is_to_be_decided_again_decides_everything(world: World, strict: bool) -> None:
    def requeue(node: Object, view: View) -> list[ObjectKey]:
        raise KeyError("web")

    bench = Bench(world, lambda state: report(state, "up"), strict=strict)
    bench.inputs = [Input(type=NODE_TYPE, requeue=requeue, select=lambda key, unit, view: ())]
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(5)
    decided = len(bench.decided)
    node = Object(metadata=Metadata(name="n"))
    node.spec.Pack(Node(), "rube/")
    if strict:
        with pytest.raises(KeyError) as raised:
            bench.cluster.add(node)
        assert describe(raised.value) == f"KeyError: 'web' (controller words, after a change of {NODE_TYPE}/n)"
    else:
        bench.cluster.add(node)
        bench.run_for(5)
        assert len(bench.decided) == decided + 1


def test_an_impure_controller_ends_the_runtime(world: World) -> None:
    count = iter(range(100))

    def decide(state: State) -> Decision:
        return Decision(memory=text_any(f"{next(count)}"))

    bench = Bench(world, decide)
    bench.cluster.add(unit_object("web"))
    bench.start()
    with pytest.raises(SimulationFailures) as failures:
        bench.run_for(1)
    assert failures.group_contains(ImpureControllerError, match="web")


def test_the_observer_gets_equal_hashes_for_equal_worlds() -> None:
    def once() -> list[tuple[ObjectKey, str, str]]:
        with World(seed=4) as world:
            bench = Bench(world, lambda state: report(state, "up"))
            bench.cluster.add(unit_object("web"))
            bench.start()
            bench.run_for(5)
            return [(decided.key, decided.state_sha256, decided.decision_sha256) for decided in bench.decided]

    first = once()
    assert len(first) == 2
    assert first == once()


def test_why_an_action_failed_is_part_of_the_next_state_until_one_succeeds(world: World) -> None:
    errors: list[str] = []

    def decide(state: State) -> Decision:
        errors.append(state.action_error)
        decision = Decision()
        if word(state.observed) != "up":
            decision.actions.add().action.CopyFrom(text_any("web=up"))
        return decision

    bench = Bench(world, decide, driven=True, strict=False)
    bench.cluster.add(unit_object("web"))
    bench.driver.errors += [away()] * 2
    bench.start()
    bench.run_for(10)
    assert errors == ["", "the apiserver is away", "the apiserver is away", ""]


def test_a_thing_that_cannot_be_observed_is_decided_with_the_reason_and_looked_at_again(world: World) -> None:
    def decide(state: State) -> Decision:
        return report(state, state.observe_error or word(state.observed))

    bench = Bench(world, decide, driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.blind = away()
    bench.start()
    bench.run_for(10)
    assert status_of(bench.cluster) == "the apiserver is away"
    assert len(bench.decided) < 20, "it backs off"
    bench.driver.things["web"] = "runs"
    bench.driver.blind = None
    bench.run_for(6)
    assert status_of(bench.cluster) == "runs"


@pytest.mark.parametrize("kind", ["apply", "patch"])
@pytest.mark.parametrize("named", ["", "team"])
def test_applies_and_patches_go_through_the_outbox_as_the_controllers_own(world: World, kind: str, named: str) -> None:
    def decide(state: State) -> Decision:
        decision = Decision()
        if state.HasField("object") and "by" not in state.object.metadata.labels:
            wanted = Object(metadata=Metadata(namespace="default", name="web", labels={"by": kind}))
            wanted.spec.CopyFrom(state.object.spec)
            if kind == "apply":
                decision.calls.add().apply.MergeFrom(ApplyRequest(objects=[wanted], owner=named))
            else:
                decision.calls.add().patch.MergeFrom(PatchRequest(object=wanted, owner=named))
        return decision

    bench = Bench(world, decide)
    bench.cluster.add(unit_object("web"))
    bench.cluster.live = False
    process = bench.start()
    bench.run_for(1)
    assert bench.cluster.calls == [kind]
    assert bench.cluster.owners == [named or "words"]
    # Nothing is decided again before the cache shows the write, also after a restart.
    process.kill()
    decided = len(bench.decided)
    bench.start()
    bench.run_for(1)
    assert len(bench.decided) == decided
    bench.cluster.publish()
    bench.run_for(1)
    assert len(bench.decided) == decided + 1
    assert bench.cluster.calls == [kind]
