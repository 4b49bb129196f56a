"""The decisions of the garbage collector."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import (
    Call,
    CoreEvent,
    Decision,
    DeleteRequest,
    Namespace,
    NamespaceStatus,
    Object,
    OwnerReference,
    State,
    StatusCondition,
)
from rube.api.keys import key_of
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.controllers.cluster.garbage import GarbageCollector
from rube.controllers.contract import EveryTypeController, evaluate
from tests.unit.controllers.cluster_fake import FakeCache, unit_object

UNIT = "api.systemd.Unit"
GC = GarbageCollector()


def thing(name: str, *owners: Object, blocks: bool = False, waits_for: str = "") -> Object:
    """A unit; with `waits_for` it is under deletion."""
    obj = unit_object(name)
    obj.metadata.uid, obj.metadata.revision = f"uid-{name}", 7
    for owner in owners:
        obj.metadata.owner_references.append(
            OwnerReference(
                type=key_of(owner).type,
                namespace=owner.metadata.namespace,
                name=owner.metadata.name,
                uid=owner.metadata.uid,
                block_deletion=blocks,
            )
        )
    if waits_for:
        obj.metadata.delete_time.CopyFrom(Timestamp(seconds=1))
        obj.metadata.finalizers.append(waits_for)
    return obj


def namespace(name: str = "default") -> Object:
    obj = Object(spec=pack(Namespace()))
    obj.metadata.name, obj.metadata.uid, obj.metadata.revision = name, "uid-ns", 9
    obj.metadata.delete_time.CopyFrom(Timestamp(seconds=1))
    obj.metadata.finalizers.append("namespace-contents")
    return obj


def decide(obj: Object, *others: Object) -> list[Call]:
    """The calls of a decision about `obj`, as the store holds it beside `others`."""
    return list(decision_of(obj, *others).calls)


def decision_of(obj: Object, *others: Object, now_s: float = 100) -> Decision:
    cache = FakeCache()
    cache.become({key_of(each): GC.transform(each) for each in (obj, *others)}, 10)
    seen = cache.get(key_of(obj))
    assert seen is not None
    state = State(key=key_of(obj).to_proto(), object=seen)
    state.now.FromNanoseconds(round(now_s * NS_PER_S))
    state.related.extend(sorted(GC.select(key_of(obj), seen, cache), key=key_of))
    return evaluate(GC, state, check_purity=True)


def test_it_is_a_controller_of_every_type() -> None:
    assert isinstance(GC, EveryTypeController)


def test_an_object_whose_owners_are_all_gone_is_deleted_if_they_still_are() -> None:
    (call,) = decide(thing("a", thing("x"), thing("y")))
    keys = [(p.key.name, p.uid, p.revision, p.absent) for p in call.delete.preconditions]
    assert keys == [("a", "uid-a", 7, False), ("x", "", 0, True), ("y", "", 0, True)]


def test_an_owner_of_the_name_with_another_uid_is_none() -> None:
    reborn = thing("x")
    reborn.metadata.uid = "another"
    (call,) = decide(thing("a", thing("x")), reborn)
    assert [(p.key.name, p.uid) for p in call.delete.preconditions] == [("a", "uid-a"), ("x", "another")]


def test_an_object_with_a_living_owner_stays_and_forgets_the_others() -> None:
    assert not decide(thing("a", thing("x")), thing("x"))
    (call,) = decide(thing("a", thing("x"), thing("y")), thing("x"))
    assert list(call.update_lifecycle.remove_owners) == ["uid-y"]
    assert [(p.key.name, p.absent) for p in call.update_lifecycle.preconditions] == [("y", True)]


def test_an_owner_that_waits_for_its_own_finalizer_still_owns() -> None:
    owner = thing("x", waits_for="example/close")
    assert not decide(thing("a", owner), owner)


def test_an_owner_deleted_in_the_foreground_takes_what_it_owns_first() -> None:
    owner = thing("x", waits_for="foreground-deletion")
    (call,) = decide(thing("a", owner), owner)
    assert call.delete.propagation == DeleteRequest.PROPAGATION_UNSPECIFIED
    assert [(p.key.name, p.revision) for p in call.delete.preconditions] == [("a", 7), ("x", 7)]
    child = thing("a", owner)
    (call,) = decide(child, owner, thing("b", child, blocks=True))
    assert call.delete.propagation == DeleteRequest.FOREGROUND, "what it owns goes before it"


def test_a_foreground_deletion_waits_for_those_that_block_it() -> None:
    owner = thing("x", waits_for="foreground-deletion")
    assert not decide(owner, thing("a", owner, blocks=True))
    (call,) = decide(owner, thing("a", owner))
    assert list(call.update_lifecycle.remove_finalizers) == ["foreground-deletion"]
    assert [(p.uid, p.revision) for p in call.update_lifecycle.preconditions] == [("uid-x", 7)]


def test_orphans_forget_their_owner_before_it_goes() -> None:
    owner = thing("x", waits_for="orphan")
    (call,) = decide(thing("a", owner, thing("gone")), owner)
    assert list(call.update_lifecycle.remove_owners) == ["uid-x", "uid-gone"]
    assert [(p.key.name, p.revision, p.absent) for p in call.update_lifecycle.preconditions] == [
        ("x", 7, False),
        ("gone", 0, True),
    ]
    (call,) = decide(thing("a", owner, waits_for="example/close"), owner)
    assert list(call.update_lifecycle.remove_owners) == ["uid-x"], "also from one that is deleted by itself"
    assert not decide(owner, thing("a", owner))
    (call,) = decide(owner)
    assert list(call.update_lifecycle.remove_finalizers) == ["orphan"]


def test_everything_in_a_namespace_under_deletion_is_deleted() -> None:
    (call,) = decide(thing("a"), namespace())
    assert [p.key.name for p in call.delete.preconditions] == ["a", "default"]
    assert not decide(thing("a"), namespace("other"))
    assert not decide(thing("a", waits_for="example/close"), namespace())


def test_a_namespace_says_what_it_waits_for_and_goes_when_it_is_empty() -> None:
    (call,) = decide(namespace(), thing("a", waits_for="example/close"), thing("b"))
    status = NamespaceStatus()
    call.update_status.status.Unpack(status)
    (condition,) = status.conditions
    assert (condition.type, condition.state, condition.reason) == (
        "Deleting",
        StatusCondition.TRUE,
        "WaitsForFinalizers",
    )
    assert condition.message == f"{UNIT}/default/a waits for example/close"
    told = namespace()
    told.status.CopyFrom(call.update_status.status)
    assert not decide(told, thing("a", waits_for="example/close"), thing("b")), "it has said so already"
    (call,) = decide(told)
    assert list(call.update_lifecycle.remove_finalizers) == ["namespace-contents"]


def test_the_end_of_an_owner_brings_up_what_it_owns_and_the_end_of_that_its_owner() -> None:
    owner, dying = thing("x"), thing("y", waits_for="foreground-deletion")
    child = thing("a", owner, dying, blocks=True)
    cache = FakeCache()
    cache.become({key_of(each): each for each in (child, dying)}, 10)
    assert key_of(child) in list(GC.requeue(owner, cache))
    assert set(GC.requeue(child, cache)) == {key_of(child), key_of(dying)}
    assert set(GC.keys(cache)) == {key_of(child), key_of(dying)}


def test_an_object_that_nothing_concerns_is_not_decided() -> None:
    cache = FakeCache()
    lone = thing("a")
    cache.become({key_of(lone): lone}, 10)
    assert not list(GC.requeue(lone, cache))
    assert not list(GC.keys(cache))


def test_a_deletion_is_told_with_the_owners_that_are_gone() -> None:
    (event,) = decision_of(thing("a", *(thing(name) for name in "uvwx"))).events
    assert event.reason == "Deleted"
    assert event.message.startswith("deleted with its owner: api.systemd.Unit/default/u is gone; ")
    assert event.message.endswith("; and 1 more")
    assert decision_of(thing("a", thing("x")), thing("x")).events == []


# Events. Times are seconds; the time to live is an hour.


def event(*, last_s: int, created_s: int) -> Object:
    obj = Object(spec=pack(CoreEvent(reason="Full", last_time=Timestamp(seconds=last_s))))
    obj.metadata.namespace, obj.metadata.name = "default", "web-1"
    obj.metadata.uid, obj.metadata.revision = "uid-e", 7
    obj.metadata.create_time.FromSeconds(created_s)
    return obj


def left_s(obj: Object, now_s: float) -> float | None:
    """Returns for how long the event stays; None if it is deleted."""
    decision = decision_of(obj, now_s=now_s)
    for call in decision.calls:
        assert [(each.uid, each.revision) for each in call.delete.preconditions] == [("uid-e", 7)]
    return None if decision.calls else decision.wake_after.ToMilliseconds() / 1000


def test_an_event_goes_an_hour_after_the_last_time() -> None:
    assert left_s(event(last_s=1_000, created_s=1_000), 1_000) == 3_600
    assert left_s(event(last_s=5_000, created_s=1_000), 6_000) == 2_600
    assert left_s(event(last_s=5_000, created_s=1_000), 8_599.5) == 0.5
    assert left_s(event(last_s=5_000, created_s=1_000), 8_600) is None


def test_an_event_that_came_late_stays_an_hour_too() -> None:
    assert left_s(event(last_s=1_000, created_s=90_000), 90_000) == 3_600


def test_the_clock_of_a_node_that_is_ahead_keeps_no_event() -> None:
    assert left_s(event(last_s=10**9, created_s=1_000), 2_000) == 2_600
    assert left_s(event(last_s=10**9, created_s=1_000), 4_600) is None


def test_a_clock_that_was_set_back_waits_no_longer_than_the_time_to_live() -> None:
    assert left_s(event(last_s=9_000, created_s=9_000), 1_000) == 3_600


def test_events_are_decided_about_and_little_of_them_is_kept() -> None:
    obj = event(last_s=1_000, created_s=1_000)
    cache = FakeCache()
    cache.become({key_of(obj): GC.transform(obj)}, 10)
    assert list(GC.keys(cache)) == [key_of(obj)] == list(GC.requeue(obj, cache))
    kept = CoreEvent()
    GC.transform(obj).spec.Unpack(kept)
    assert kept == CoreEvent(last_time=Timestamp(seconds=1_000))


def test_an_event_in_a_namespace_under_deletion_goes_with_it() -> None:
    (call,) = decide(event(last_s=100, created_s=100), namespace())
    assert [key.type for key in call.delete.keys] == ["core.Event"]
