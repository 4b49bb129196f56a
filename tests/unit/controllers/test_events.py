"""Events: what decisions say that happened, once each time, and never in the way of anything else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from traceback import format_exception

import pytest

from rube.api import CoreEvent, Decision, Object, Occurrence, PutRequest, PutResponse, State
from rube.api.errors import AbortedError, InvalidArgumentError, ResourceExhaustedError, UnavailableError
from rube.api.keys import ObjectKey, is_name, key_of
from rube.api.times import NS_PER_S
from rube.api.types.rules import rules_of
from rube.controllers.events import CONTROLLER_BURST, OBJECT_BURST, Rates, counted, key_of_event, object_of
from rube.controllers.outbox import EVENTS_MAX
from rube.host import Engine, Write
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import SimulationFailures, World
from rube.sim.world.network import SimFabric
from tests.unit.controllers.cluster_fake import FakeCluster, unit_object, word
from tests.unit.controllers.runtime_bench import Bench, Decide

KEY = key_of(unit_object("web"))


@pytest.fixture
def world() -> Iterator[World]:
    with World(seed=1) as made:
        yield made


def says(*occurrences: Occurrence) -> Decision:
    return Decision(events=occurrences)


def while_it_is(so: list[Occurrence]) -> Decide:
    """A decide that says at each call what is so."""
    return lambda state: says(*so) if state.HasField("object") else Decision()


def events_of(cluster: FakeCluster) -> list[CoreEvent]:
    found = []
    for key in sorted(cluster.objects):
        if key.type == "core.Event":
            event = CoreEvent()
            cluster.objects[key].spec.Unpack(event)
            found.append(event)
    return found


def counts(cluster: FakeCluster) -> dict[str, int]:
    return {f"{event.reason} {event.message}".strip(): event.count for event in events_of(cluster)}


def a_bench(world: World, decide: Decide, *, strict: bool = True) -> Bench:
    bench = Bench(world, decide, strict=strict)
    bench.cluster.add(unit_object("web"))
    return bench


def decide_again(bench: Bench) -> None:
    assert bench.runtime is not None
    bench.runtime._decide_all()
    bench.run_for(1)


FULL = Occurrence(type=CoreEvent.WARNING, reason="Full", message="no room")


def test_an_event_names_the_object_the_reporter_and_the_time(world: World) -> None:
    bench = a_bench(world, while_it_is([FULL]))
    bench.start()
    bench.run_for(1)
    (event,) = events_of(bench.cluster)
    stored = bench.cluster.objects[KEY]
    (obj,) = [obj for key, obj in bench.cluster.objects.items() if key.type == "core.Event"]
    assert ObjectKey.from_proto(event.regarding) == KEY
    assert event.regarding_uid == stored.metadata.uid == obj.metadata.labels["rube/regarding"]
    assert (event.type, event.reason, event.message) == (CoreEvent.WARNING, "Full", "no room")
    assert (event.controller, event.instance, event.count) == ("words", "worker-1", 1)
    assert event.first_time == event.last_time == bench.decided[0].state.now
    assert key_of(obj) == key_of_event(event)
    assert (obj.metadata.namespace, obj.metadata.name[:4]) == ("default", "web-")
    assert rules_of(CoreEvent).violations(event) == []


def test_what_each_decision_says_is_one_event_until_one_does_not_say_it(world: World) -> None:
    so = [FULL]
    bench = a_bench(world, while_it_is(so))
    bench.start()
    bench.run_for(1)
    decide_again(bench)
    assert len(bench.decided) >= 2
    assert counts(bench.cluster) == {"Full no room": 1}
    so.clear()
    decide_again(bench)
    so.append(FULL)
    decide_again(bench)
    assert counts(bench.cluster) == {"Full no room": 2}
    (event,) = events_of(bench.cluster)
    assert event.first_time.ToNanoseconds() < event.last_time.ToNanoseconds()


def test_another_id_is_another_occurrence_of_the_same_event(world: World) -> None:
    so = [Occurrence(reason="Started", id="run-1")]
    bench = a_bench(world, while_it_is(so))
    bench.start()
    bench.run_for(1)
    so[0] = Occurrence(reason="Started", id="run-2")
    decide_again(bench)
    assert counts(bench.cluster) == {"Started": 2}


def test_the_last_decision_is_remembered_across_a_crash(world: World) -> None:
    bench = a_bench(world, while_it_is([FULL]))
    process = bench.start()
    bench.run_for(1)
    process.kill()
    decided = len(bench.decided)
    bench.start()
    bench.run_for(1)
    assert len(bench.decided) > decided
    assert counts(bench.cluster) == {"Full no room": 1}


def deletes(state: State) -> Decision:
    """Deletes an object, and says so."""
    decision = says(Occurrence(reason="Deleted")) if state.HasField("object") else Decision()
    for _ in decision.events:
        call = decision.calls.add().delete
        call.keys.append(state.key)
        call.preconditions.add(key=state.key, revision=state.object.metadata.revision)
    return decision


def test_an_event_happens_once_the_calls_of_its_decision_are_done(world: World) -> None:
    bench = a_bench(world, deletes)
    bench.cluster.errors += [UnavailableError("away")] * 3
    bench.start()
    bench.run_for(0.05)
    assert events_of(bench.cluster) == []
    bench.run_for(5)
    assert KEY not in bench.cluster.objects
    assert counts(bench.cluster) == {"Deleted": 1}


def test_an_event_whose_calls_are_refused_did_not_happen(world: World) -> None:
    bench = a_bench(world, deletes)
    bench.cluster.errors += [InvalidArgumentError("no")] * 1000
    bench.start()
    bench.run_for(5)
    assert "put" not in bench.cluster.calls
    bench.cluster.errors.clear()
    bench.run_for(10)
    assert counts(bench.cluster) == {"Deleted": 1}


def test_an_event_does_not_wait_for_a_status(world: World) -> None:
    def decide(state: State) -> Decision:
        decision = says(Occurrence(reason="Started"))
        decision.calls.add().update_status.key.CopyFrom(KEY._replace(name="absent").to_proto())
        return decision

    bench = a_bench(world, decide)
    bench.start()
    bench.run_for(1)
    assert counts(bench.cluster) == {"Started": 1}


def test_events_of_a_node_without_a_server_come_later_with_their_own_times(world: World) -> None:
    bench = Bench(world, lambda state: says(Occurrence(reason=word(state.observed).capitalize())), driven=True)
    bench.cluster.add(unit_object("web"))
    bench.driver.things["web"] = "started"
    process = bench.start()
    bench.run_for(1)
    bench.cluster.cache.connect(False)
    begin_ns = world.start_unix_ns + world.now_ns
    for thing in ("failed", "started", "failed"):
        bench.driver.change("web", thing)
        bench.run_for(10)
    process.kill()
    bench.start()
    bench.run_for(100)
    assert counts(bench.cluster) == {"Started": 1}
    bench.cluster.cache.connect(True)
    bench.run_for(1)
    assert counts(bench.cluster) == {"Failed": 2, "Started": 2}
    for event in events_of(bench.cluster):
        assert 0 <= event.last_time.ToNanoseconds() - begin_ns < 30 * NS_PER_S


class LosesAnswers(FakeCluster):
    """Carries out the first put of an event without an answer."""

    lost = 0

    async def put(self, request: PutRequest) -> PutResponse:
        answer = await super().put(request)
        if not self.lost:
            self.lost += 1
            raise UnavailableError("the answer is lost")
        return answer


def test_a_report_that_arrives_twice_counts_once(world: World) -> None:
    bench = Bench(world, while_it_is([FULL]))
    loses = LosesAnswers()
    bench.cluster = loses
    bench.cluster.add(unit_object("web"))
    bench.start()
    bench.run_for(5)
    assert (loses.lost, bench.cluster.calls) == (1, ["put", "put", "get"])
    assert counts(bench.cluster) == {"Full no room": 1}


def test_a_server_that_hangs_on_events_holds_up_no_call(world: World) -> None:
    class Hanging(FakeCluster):
        async def put(self, request: PutRequest) -> PutResponse:
            await asyncio.Event().wait()
            raise AssertionError

    def decide(state: State) -> Decision:
        decision = says(FULL)
        if state.HasField("object") and not state.object.HasField("status"):
            call = decision.calls.add().update_status
            call.key.CopyFrom(state.key)
            call.status.CopyFrom(state.object.spec)
        return decision

    bench = Bench(world, decide)
    bench.cluster = Hanging()
    for number in range(40):
        bench.cluster.add(unit_object(f"u{number}"))
    bench.start()
    bench.run_for(1)
    assert bench.cluster.calls.count("update_status") == 40


def test_an_event_that_the_server_refuses_is_lost_and_the_next_one_comes(world: World) -> None:
    so = [FULL]
    bench = a_bench(world, while_it_is(so))
    bench.cluster.errors.append(InvalidArgumentError("the namespace is being deleted"))
    bench.start()
    bench.run_for(5)
    assert events_of(bench.cluster) == []
    so.append(Occurrence(reason="Empty"))
    decide_again(bench)
    assert counts(bench.cluster) == {"Empty": 1}


def test_a_former_leader_reports_nothing(world: World) -> None:
    bench = a_bench(world, while_it_is([FULL]))
    bench.cluster.errors.append(AbortedError("term 1 of words is over", fence="words", term=2))
    bench.start()
    bench.run_for(5)
    assert bench.cluster.calls == ["put"]


def test_many_events_of_one_object_are_limited_and_those_of_others_are_not(world: World) -> None:
    so = [Occurrence(reason="Started", id="0")]
    bench = a_bench(world, while_it_is(so))
    bench.start()
    bench.run_for(1)
    for number in range(1, OBJECT_BURST + 10):
        so[0] = Occurrence(reason="Started", id=str(number))
        decide_again(bench)
    assert counts(bench.cluster) == {"Started": OBJECT_BURST}
    bench.cluster.add(unit_object("other"))
    bench.run_for(1)
    assert sorted(event.count for event in events_of(bench.cluster)) == [1, OBJECT_BURST]
    bench.run_for(300)
    so[0] = Occurrence(reason="Started", id="later")
    decide_again(bench)
    assert sorted(event.count for event in events_of(bench.cluster)) == [2, OBJECT_BURST + 1]


def test_all_events_of_a_controller_are_limited_together(world: World) -> None:
    rates = Rates(make_machine(world, SimFabric(world), world.host("a")).ports.clock)
    keys = [ObjectKey("acme.Thing", "default", f"t{number}") for number in range(1_000)]
    assert sum(rates.admits(key) for key in keys) == CONTROLLER_BURST


def test_only_so_many_events_of_an_object_wait(world: World) -> None:
    bench = a_bench(world, lambda state: says(*[Occurrence(reason=f"R{number}") for number in range(20)]))
    bench.start()
    bench.run_for(1)
    assert len(events_of(bench.cluster)) == 10, "the rest of a decision's is dropped"
    assert EVENTS_MAX >= OBJECT_BURST


def test_a_reason_that_is_no_word_is_the_controllers_mistake(world: World) -> None:
    bench = a_bench(world, lambda state: says(Occurrence(reason="it broke")))
    bench.start()
    with pytest.raises(SimulationFailures) as caught:
        bench.run_for(1)
    assert "one CamelCase word" in "".join(format_exception(caught.value))


def test_a_mistake_in_an_event_holds_up_no_decision(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def decide(state: State) -> Decision:
        decision = deletes(state)
        decision.events.add(reason="it broke")
        return decision

    bench = a_bench(world, decide, strict=False)
    bench.start()
    with caplog.at_level(logging.WARNING):
        bench.run_for(1)
    assert counts(bench.cluster) == {"Deleted": 1}
    assert "one CamelCase word" in caplog.text


class FullDisk:
    """An engine that has room for a row of few bytes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def commit(self, batch: Sequence[Write]) -> None:
        if any(write.value is not None and len(write.value) > 150 for write in batch):
            raise ResourceExhaustedError("the disk is full")
        await self._engine.commit(batch)


def test_without_room_for_an_event_the_decision_is_recorded_all_the_same(world: World) -> None:
    bench = a_bench(world, lambda state: says(Occurrence(reason="Long", message="x" * 500)))
    bench.wrap_engine = FullDisk  # type: ignore[assignment]
    bench.start()
    bench.run_for(5)
    assert events_of(bench.cluster) == []
    assert len(bench.decided) == 1, "it was not put off"


def test_words_are_cut_and_names_are_labels() -> None:
    event = CoreEvent(reason="Pushed", message="m" * 3_000, count=1, controller="c")
    event.regarding.type, event.regarding.name = "api.Type", "acme.Backup_" + "x" * 200
    assert is_name(key_of_event(event).name)
    assert key_of_event(event).namespace == "default", "that of an object outside namespaces"
    other = CoreEvent()
    other.CopyFrom(event)
    other.regarding_uid = "another"
    assert key_of_event(other) != key_of_event(event)


def test_an_event_that_is_counted_keeps_what_others_wrote_beside_it() -> None:
    event = CoreEvent(reason="Full", count=1, report="a", regarding=KEY.to_proto())
    stored = object_of(event)
    stored.metadata.labels["team"] = "blue"
    assert counted(stored, event) is None, "it was counted already"
    event.report = "b"
    again = counted(stored, event)
    assert isinstance(again, Object)
    assert again.metadata.labels["team"] == "blue"
    after = CoreEvent()
    again.spec.Unpack(after)
    assert (after.count, after.report) == (2, "b")
