"""The garbage collector: deletes what nothing owns any more, and old events, and finishes deletions that wait for other
objects. Pure.

Three deletions wait for it, each by a finalizer: in the foreground (for what the object owns and what blocks it), as an
orphan's owner (for the owned to forget it), and a namespace's (for its contents).

It sees every type in one stream, so that whoever is shown an object is shown everything written before it. What it saw
may still be old when its calls arrive: each call names what it relies on as preconditions, an owner's absence too, and
the store judges them in the same transaction. So nothing is deleted by a stale view, not even in a restored store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from google.protobuf.any_pb2 import Any

from rube.api import (
    Call,
    CoreEvent,
    Decision,
    DeleteRequest,
    Metadata,
    NamespaceStatus,
    Object,
    OwnerReference,
    Precondition,
    State,
    StatusCondition,
)
from rube.api.conditions import set_condition
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey, key_of, type_of
from rube.api.times import NS_PER_S
from rube.api.types import pack
from rube.api.well_known import (
    CONTENTS_FINALIZER,
    EVENT_TYPE,
    EVERY_TYPE,
    FOREGROUND_FINALIZER,
    NAMESPACE_TYPE,
    ORPHAN_FINALIZER,
)
from rube.controllers.contract import Input, Relation, View

_FINALIZERS = (CONTENTS_FINALIZER, ORPHAN_FINALIZER, FOREGROUND_FINALIZER)
# The objects that one decision about a deletion sees of those that it waits for.
_SEEN_MAX = 100
_NAMED_MAX = 3
# An object that forgets its owner is no change of the owner: look again.
_AGAIN_S = 2
DELETING_CONDITION = "Deleting"
EVENT_TTL_S = 3600.0
"""An event is deleted so long after it happened last, as in Kubernetes."""

Related = Mapping[ObjectKey, Object]


class GarbageCollector:
    """Keyed by the objects of every type that have an owner, are under deletion, or are in a namespace that is, and by
    events."""

    name = "garbage-collector"
    type = EVERY_TYPE
    selector = ""
    inputs: Sequence[Input] = ()

    def __init__(self, *, event_ttl_s: float = EVENT_TTL_S) -> None:
        self._event_ttl_ns = round(event_ttl_s * NS_PER_S)

    def transform(self, obj: Object) -> Object:
        kept = Object(metadata=obj.metadata, spec=Any(type_url=obj.spec.type_url))
        kept.metadata.annotations.clear()
        kept.metadata.labels.clear()
        if type_of(obj.spec) == NAMESPACE_TYPE:
            kept.status.CopyFrom(obj.status)
        if type_of(obj.spec) == EVENT_TYPE:
            kept.spec.CopyFrom(pack(CoreEvent(last_time=_event(obj).last_time)))
        return kept

    def keys(self, view: View) -> Iterator[ObjectKey]:
        yield from list(view.related(Relation.OWNED, ""))
        yield from [key_of(event) for event in view.list(EVENT_TYPE)]
        for key in list(view.related(Relation.DELETED, "")):
            yield key
            if key.type == NAMESPACE_TYPE:
                yield from list(view.related(Relation.IN_NAMESPACE, key.name))

    def requeue(self, changed: Object, view: View) -> Iterator[ObjectKey]:
        key, metadata = key_of(changed), changed.metadata
        there = view.get(key)
        present = there is not None and there.metadata.uid == metadata.uid
        if metadata.owner_references or metadata.HasField("delete_time") or not present or key.type == EVENT_TYPE:
            yield key
        if not present or metadata.HasField("delete_time"):
            yield from list(view.related(Relation.OWNED, metadata.uid))
            if key.type == NAMESPACE_TYPE and present:
                yield from list(view.related(Relation.IN_NAMESPACE, key.name))
        for above in _above(metadata):
            if (found := view.get(above)) is not None and found.metadata.HasField("delete_time"):
                yield above
                if present and above.type == NAMESPACE_TYPE:
                    yield key

    def select(self, key: ObjectKey, obj: Object | None, view: View) -> Iterable[Object]:
        if obj is None:
            return
        metadata = obj.metadata
        keys = dict.fromkeys(_above(metadata))
        if not metadata.HasField("delete_time"):
            keys.update(dict.fromkeys(islice(view.related(Relation.BLOCKING, metadata.uid), 1)))
        for relation, value in _awaited(key, metadata):
            keys.update(dict.fromkeys(islice(view.related(relation, value), _SEEN_MAX)))
        for each in keys:
            if each != key and (found := view.get(each)) is not None:
                yield found

    def decide(self, state: State) -> Decision:
        decision = Decision()
        if not state.HasField("object"):
            return decision
        related = {key_of(obj): obj for obj in state.related}
        metadata = state.object.metadata
        if _forget_orphaning(decision, state, related):
            return decision
        if metadata.HasField("delete_time"):
            self._finish(decision, state, related)
            return decision
        namespace = related.get(_namespace_key(metadata)) if metadata.namespace else None
        if namespace is not None and _empties(namespace.metadata):
            _delete(decision, state, [_as_it_is(namespace)], DeleteRequest.PROPAGATION_UNSPECIFIED)
        elif metadata.owner_references:
            self._collect(decision, state, related)
        elif type_of(state.object.spec) == EVENT_TYPE:
            self._expire(decision, state)
        return decision

    def _expire(self, decision: Decision, state: State) -> None:
        """Deletes an event once its time to live has passed since it happened last.

        That time is of the clock of whoever saw it: one in the future, and one before the object was created, count as
        that of its creation, which is of an apiserver's. So an event that a node could not report in time stays, too.
        """
        now_ns = state.now.ToNanoseconds()
        created_ns = state.object.metadata.create_time.ToNanoseconds()
        last_ns = _event(state.object).last_time.ToNanoseconds()
        since_ns = last_ns if created_ns < last_ns <= now_ns else created_ns
        left_ns = since_ns + self._event_ttl_ns - now_ns
        if left_ns <= 0:
            _delete(decision, state, (), DeleteRequest.PROPAGATION_UNSPECIFIED)
        else:
            decision.wake_after.FromNanoseconds(min(left_ns, self._event_ttl_ns))

    def _collect(self, decision: Decision, state: State, related: Related) -> None:
        """Deletes an object without any owner that stays, and takes owners that are gone from one that has others."""
        gone: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        for owner in state.object.metadata.owner_references:
            found = related.get(_owner_key(owner))
            if found is None or found.metadata.uid != owner.uid:
                gone.append(owner)
            elif found.metadata.HasField("delete_time") and FOREGROUND_FINALIZER in found.metadata.finalizers:
                waiting.append(owner)
        stay = len(state.object.metadata.owner_references) - len(gone) - len(waiting)
        conditions = [_ownerless(owner, related) for owner in gone]
        conditions += [_as_it_is(related[_owner_key(owner)]) for owner in waiting]
        if stay and conditions:
            _forget_owners(decision.calls.add(), state.object, [owner.uid for owner in [*gone, *waiting]], conditions)
        elif not stay:
            # What it owns itself goes first, too, where its own owner waits for it.
            uid = state.object.metadata.uid
            foreground = waiting and any(_blocks(obj, uid) for obj in related.values())
            how = DeleteRequest.FOREGROUND if foreground else DeleteRequest.PROPAGATION_UNSPECIFIED
            _delete(decision, state, conditions, how)
            _tell(decision, gone, waiting)

    def _finish(self, decision: Decision, state: State, related: Related) -> None:
        """Removes the finalizers of which nothing is left to wait for."""
        metadata = state.object.metadata
        done: list[str] = []
        for finalizer in _FINALIZERS:
            if finalizer not in metadata.finalizers:
                continue
            left = _left(finalizer, state.object, related)
            if not left:
                done.append(finalizer)
                continue
            decision.wake_after.seconds = _AGAIN_S
            if finalizer == CONTENTS_FINALIZER:
                _report(decision, state, left)
        if done:
            call = decision.calls.add().update_lifecycle
            call.key.CopyFrom(state.key)
            call.uid = metadata.uid
            call.remove_finalizers.extend(done)
            call.preconditions.append(_as_it_is(state.object))


def _event(obj: Object) -> CoreEvent:
    event = CoreEvent()
    obj.spec.Unpack(event)
    return event


def _above(metadata: Metadata) -> Iterator[ObjectKey]:
    """Yields the keys of an object's owners, and of its namespace."""
    for owner in metadata.owner_references:
        yield _owner_key(owner)
    if metadata.namespace:
        yield _namespace_key(metadata)


def _awaited(key: ObjectKey, metadata: Metadata) -> Iterator[tuple[Relation, str]]:
    """Yields the relations to what a deletion waits for."""
    if metadata.HasField("delete_time"):
        if CONTENTS_FINALIZER in metadata.finalizers and key.type == NAMESPACE_TYPE:
            yield Relation.IN_NAMESPACE, key.name
        if ORPHAN_FINALIZER in metadata.finalizers:
            yield Relation.OWNED, metadata.uid
        if FOREGROUND_FINALIZER in metadata.finalizers:
            yield Relation.BLOCKING, metadata.uid


def _left(finalizer: str, obj: Object, related: Related) -> list[Object]:
    """Returns the objects that this finalizer waits for, of those that are seen."""
    uid, name = obj.metadata.uid, obj.metadata.name
    if finalizer == CONTENTS_FINALIZER:
        is_namespace = type_of(obj.spec) == NAMESPACE_TYPE
        return [each for each in related.values() if is_namespace and each.metadata.namespace == name]
    if finalizer == ORPHAN_FINALIZER:
        return [each for each in related.values() if any(o.uid == uid for o in each.metadata.owner_references)]
    return [each for each in related.values() if _blocks(each, uid)]


def _blocks(obj: Object, uid: str) -> bool:
    return any(owner.uid == uid and owner.block_deletion for owner in obj.metadata.owner_references)


def _empties(namespace: Metadata) -> bool:
    return namespace.HasField("delete_time") and CONTENTS_FINALIZER in namespace.finalizers


def _owner_key(owner: OwnerReference) -> ObjectKey:
    return ObjectKey(owner.type, owner.namespace, owner.name)


def _namespace_key(metadata: Metadata) -> ObjectKey:
    return ObjectKey(NAMESPACE_TYPE, "", metadata.namespace)


def _as_it_is(obj: Object) -> Precondition:
    """Demands the object as it was seen."""
    return Precondition(key=key_of(obj).to_proto(), uid=obj.metadata.uid, revision=obj.metadata.revision)


def _ownerless(owner: OwnerReference, related: Related) -> Precondition:
    """Demands that this owner does not exist: its name is free, or another object's."""
    key = _owner_key(owner)
    found = related.get(key)
    if found is None:
        return Precondition(key=key.to_proto(), absent=True)
    return Precondition(key=key.to_proto(), uid=found.metadata.uid)


def _delete(
    decision: Decision,
    state: State,
    conditions: Iterable[Precondition],
    propagation: DeleteRequest.Propagation.ValueType,
) -> None:
    call = decision.calls.add().delete
    call.keys.append(state.key)
    call.preconditions.append(_as_it_is(state.object))
    call.preconditions.extend(conditions)
    call.propagation = propagation


def _tell(decision: Decision, gone: Sequence[OwnerReference], waiting: Sequence[OwnerReference]) -> None:
    """Adds the event of an object's deletion, which names its owners."""
    words = [f"{_owner_key(owner)} is gone" for owner in gone]
    words += [f"{_owner_key(owner)} is being deleted" for owner in waiting]
    more = f"; and {len(words) - _NAMED_MAX} more" if len(words) > _NAMED_MAX else ""
    decision.events.add(reason="Deleted", message=f"deleted with its owner: {'; '.join(words[:_NAMED_MAX])}{more}")


def _forget_orphaning(decision: Decision, state: State, related: Related) -> bool:
    """Takes owners that wait to be forgotten from an object; returns whether there are any."""
    conditions: list[Precondition] = []
    uids: list[str] = []
    for owner in state.object.metadata.owner_references:
        found = related.get(_owner_key(owner))
        if found is None or found.metadata.uid != owner.uid:  # else it would be deleted once the others are forgotten
            conditions.append(_ownerless(owner, related))
            uids.append(owner.uid)
        elif found.metadata.HasField("delete_time") and ORPHAN_FINALIZER in found.metadata.finalizers:
            conditions.append(_as_it_is(found))
            uids.append(owner.uid)
    if not any(condition.revision for condition in conditions):
        return False
    _forget_owners(decision.calls.add(), state.object, uids, conditions)
    return True


def _forget_owners(call: Call, obj: Object, uids: Sequence[str], conditions: Iterable[Precondition]) -> None:
    request = call.update_lifecycle
    request.key.CopyFrom(key_of(obj).to_proto())
    request.uid = obj.metadata.uid
    request.remove_owners.extend(uids)
    request.preconditions.extend(conditions)


def _report(decision: Decision, state: State, left: Sequence[Object]) -> None:
    """Says in a namespace's status what its deletion waits for."""
    status = NamespaceStatus()
    state.object.status.Unpack(status)
    held = [obj for obj in left if obj.metadata.HasField("delete_time")]
    condition = StatusCondition(
        type=DELETING_CONDITION,
        state=StatusCondition.TRUE,
        reason="WaitsForFinalizers" if held else "DeletesContents",
        message=_words(held),
        observed_generation=state.object.metadata.generation,
    )
    if not set_condition(status.conditions, condition, state.now):
        return
    call = decision.calls.add().update_status
    call.key.CopyFrom(state.key)
    call.uid = state.object.metadata.uid
    call.status.Pack(status, TYPE_URL_PREFIX, deterministic=True)


def _words(held: Sequence[Object]) -> str:
    if not held:
        return "everything in the namespace is being deleted"
    named = "; ".join(f"{key_of(obj)} waits for {', '.join(obj.metadata.finalizers)}" for obj in held[:_NAMED_MAX])
    more = f"; and {len(held) - _NAMED_MAX} more" if len(held) > _NAMED_MAX else ""
    return named + more
