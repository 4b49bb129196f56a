"""The effect of a write on an object, by the API's documentation.

Written for the judges alone: it shares no code with the servers that it judges.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from functools import lru_cache

from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    Key,
    Lease,
    Metadata,
    Object,
    PatchRequest,
    Precondition,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.sim.judges.contents import Content

_BINDING = "node"
# Annotations that a put which omits them keeps, and an empty value removes.
_REQUESTS = ("rube/move-to", "rube/restart")
_FOREGROUND, _ORPHAN, _CONTENTS = "foreground-deletion", "orphan", "namespace-contents"
_OF_NAMESPACES = "core.Namespace"
_OBSERVED = "observed_generation"
_REMEMBERED_MAX = 4096
Messages = Mapping[str, type[Message]]
"""The messages of types that were pushed, by full name."""


def after_put(before: Content | None, sent: Object, there: Content, messages: Messages) -> Object:
    """Returns the object that a put of `sent` stores. Fields that the server alone decides for a new one come from
    `there`."""
    expected = Object()
    metadata = expected.metadata
    metadata.CopyFrom(sent.metadata)
    expected.spec.CopyFrom(canonical(sent.spec, messages))
    stored = Metadata() if before is None else before.obj.metadata
    _keep(metadata.labels, stored.labels, _BINDING)
    for request in _REQUESTS:
        _keep(metadata.annotations, stored.annotations, request)
    origin = there if before is None else before
    metadata.uid = origin.obj.metadata.uid
    metadata.create_time.CopyFrom(origin.obj.metadata.create_time)
    _keep_deletion(metadata, stored)
    metadata.generation = 1
    if before is not None:
        metadata.generation = before.obj.metadata.generation + (before.obj.spec != expected.spec)
        if before.obj.HasField("status"):
            expected.status.CopyFrom(before.obj.status)
    return expected


def _keep(sent: MutableMapping[str, str], stored: Mapping[str, str], name: str) -> None:
    """Keeps a stored value that a put omits, and removes one that it sends empty."""
    if name not in sent:
        if value := stored.get(name, ""):
            sent[name] = value
    elif not sent[name]:
        del sent[name]


def _keep_deletion(metadata: Metadata, stored: Metadata) -> None:
    """Keeps what a put cannot change: the deletion that waits, and the finalizers that it omits."""
    wanted = list(metadata.finalizers)
    _set_finalizers(metadata, [*stored.finalizers, *(name for name in wanted if name not in stored.finalizers)])
    metadata.ClearField("delete_time")
    if stored.HasField("delete_time"):
        metadata.delete_time.CopyFrom(stored.delete_time)


def after_delete(before: Content, request: DeleteRequest, there: Content | None) -> Object | None:
    """Returns the object that waits for its finalizers after a delete; None: it is gone. The time comes from `there`,
    unless it was under deletion before."""
    was = before.obj.metadata
    finalizers = list(was.finalizers)
    again = was.HasField("delete_time") and request.propagation == DeleteRequest.PROPAGATION_UNSPECIFIED
    if not again:
        if request.propagation != DeleteRequest.PROPAGATION_UNSPECIFIED:
            asked = {DeleteRequest.FOREGROUND: [_FOREGROUND], DeleteRequest.ORPHAN: [_ORPHAN]}
            wanted = asked.get(request.propagation, [])
            finalizers = [name for name in finalizers if name in wanted or name not in (_FOREGROUND, _ORPHAN)]
            finalizers += [name for name in wanted if name not in finalizers]
        if before.type == _OF_NAMESPACES:
            finalizers = [name for name in finalizers if name != _CONTENTS or _ORPHAN not in finalizers]
            if _ORPHAN not in finalizers and _CONTENTS not in finalizers:
                finalizers.append(_CONTENTS)
    if not finalizers:
        return None
    expected = Object()
    expected.CopyFrom(before.obj)
    _set_finalizers(expected.metadata, finalizers)
    if not was.HasField("delete_time") and there is not None and there.obj.metadata.HasField("delete_time"):
        expected.metadata.delete_time.CopyFrom(there.obj.metadata.delete_time)
    return expected


def after_lifecycle(before: Content, request: UpdateLifecycleRequest) -> Object | None:
    """Returns the object with other finalizers and owners; None: the last finalizer of its deletion is removed."""
    expected = Object()
    expected.CopyFrom(before.obj)
    metadata = expected.metadata
    finalizers = [name for name in metadata.finalizers if name not in request.remove_finalizers]
    finalizers += [name for name in request.add_finalizers if name not in finalizers]
    owners = [owner for owner in before.obj.metadata.owner_references if owner.uid not in request.remove_owners]
    _set_finalizers(metadata, finalizers)
    del metadata.owner_references[:]
    metadata.owner_references.extend(owners)
    return None if metadata.HasField("delete_time") and not finalizers else expected


def _set_finalizers(metadata: Metadata, finalizers: Sequence[str]) -> None:
    del metadata.finalizers[:]
    metadata.finalizers.extend(finalizers)


def after_status(before: Content, request: UpdateStatusRequest, messages: Messages) -> Object:
    """The object that a new status leaves: nothing but the status is another."""
    expected = Object()
    expected.CopyFrom(before.obj)
    wanted = unpack(request.status, messages)
    if request.update_mask.paths:
        merged = unpack(before.obj.status, messages) if before.obj.HasField("status") else type(wanted)()
        request.update_mask.MergeMessage(wanted, merged, replace_message_field=True, replace_repeated_field=True)
    else:
        merged = wanted
    if request.observed_generation:
        setattr(merged, _OBSERVED, request.observed_generation)
    expected.status.CopyFrom(pack(merged))
    return expected


def after_apply(before: Content | None, sent: Object, there: Content, messages: Messages) -> Object:
    """Returns the object that an apply leaves, as far as this model goes: `there`, with every field that was sent, and
    with the status from before. Which fields went, since their owner left them out, it does not judge."""
    expected = _with_status_of(before, there)
    spec = unpack(there.obj.spec, messages)
    _overlay(unpack(sent.spec, messages), spec)
    expected.spec.CopyFrom(pack(spec))
    for name in ("labels", "annotations"):
        for key, value in getattr(sent.metadata, name).items():
            if value:  # an empty one may take a binding or a request away
                getattr(expected.metadata, name)[key] = value
    return expected


def after_patch(before: Content, request: PatchRequest, there: Content, messages: Messages) -> Object:
    """Returns the object that a patch leaves, as far as this model goes: `there`, with the fields of before that the
    mask does not begin with, and with those that it names as a whole from the request."""
    expected = _with_status_of(before, there)
    paths = [path.split(".") for path in request.update_mask.paths]
    spec, was = unpack(there.obj.spec, messages), unpack(before.obj.spec, messages)
    wanted = unpack(request.object.spec, messages)
    if not any(path[0] == "*" or path == ["spec"] for path in paths):
        touched = {path[1] for path in paths if path[0] == "spec"}
        for field in spec.DESCRIPTOR.fields:
            if field.name not in touched:
                _set(spec, field.name, was)
            elif ["spec", field.name] in paths:
                _set(spec, field.name, wanted)
        expected.spec.CopyFrom(pack(spec))
        for name in ("labels", "annotations"):
            if not any(path[:2] == ["metadata", name] for path in paths):
                _set(expected.metadata, name, before.obj.metadata)
    return expected


def _with_status_of(before: Content | None, there: Content) -> Object:
    expected = Object()
    expected.CopyFrom(there.obj)
    expected.ClearField("status")
    if before is not None and before.obj.HasField("status"):
        expected.status.CopyFrom(before.obj.status)
    return expected


def _overlay(part: Message, whole: Message) -> None:
    """Sets every field of `part` in `whole`; the items of a list are added where they are missing."""
    for field, value in part.ListFields():
        if not field.is_repeated:
            if field.message_type is None:
                setattr(whole, field.name, value)
            else:
                getattr(whole, field.name).SetInParent()
                _overlay(value, getattr(whole, field.name))
        elif isinstance(value, Mapping):
            _set_entries(value, getattr(whole, field.name))
        else:
            found = getattr(whole, field.name)
            found.extend([item for item in value if item not in found])


def _set_entries(part: Mapping[object, object], whole: MutableMapping[object, object]) -> None:
    for key, value in part.items():
        if isinstance(value, Message):
            found = whole[key]  # protobuf makes one
            assert isinstance(found, Message)
            found.MergeFrom(value)
        else:
            whole[key] = value


def _set(message: Message, name: str, source: Message) -> None:
    """Makes one field what it is in another message of the same type."""
    message.ClearField(name)
    part = type(source)()
    part.CopyFrom(source)
    for field in source.DESCRIPTOR.fields:
        if field.name != name:
            part.ClearField(field.name)
    message.MergeFrom(part)


def after_renewal(before: Content, request: RenewLeaseRequest) -> Object | None:
    """The object that a renewal leaves: a lease with another time; None if the lease is not the one who asks."""
    lease = Lease.FromString(before.obj.spec.value)
    if not request.holder or (lease.holder, lease.session) != (request.holder, request.session):
        return None
    expected = Object()
    expected.CopyFrom(before.obj)
    if request.renew_time.ToNanoseconds() > lease.renew_time.ToNanoseconds():
        lease.renew_time.CopyFrom(request.renew_time)
    expected.spec.CopyFrom(pack(lease))
    expected.metadata.generation += expected.spec != before.obj.spec
    return expected


def demands_of(request: object) -> Sequence[tuple[str, Precondition]]:
    """The preconditions of a write, also those that its objects imply, each with the key that it is about."""
    given: list[tuple[str, Precondition]] = []
    if isinstance(request, UpdateStatusRequest):
        if request.HasField("precondition"):
            given.append((_named(request.precondition, [_key(request.key)]), request.precondition))
        if request.uid:
            given.append((_key(request.key), Precondition(uid=request.uid)))
    elif isinstance(request, PatchRequest):
        key = _key_of(request.object)
        given += [(_named(wanted, [key]), wanted) for wanted in request.preconditions]
    elif isinstance(request, PutRequest | ApplyRequest):
        keys = [_key_of(obj) for obj in request.objects]
        given += [(_named(wanted, keys), wanted) for wanted in request.preconditions]
        for key, obj in zip(keys, request.objects, strict=True):
            metadata = obj.metadata
            if metadata.revision or metadata.uid:
                given.append((key, Precondition(revision=metadata.revision, uid=metadata.uid)))
    elif isinstance(request, UpdateLifecycleRequest):
        key = _key(request.key)
        given += [(_named(wanted, [key]), wanted) for wanted in request.preconditions]
        if request.uid:
            given.append((key, Precondition(uid=request.uid)))
    elif isinstance(request, DeleteRequest):
        keys = [_key(key) for key in request.keys]
        given += [(_named(wanted, keys), wanted) for wanted in request.preconditions]
    return given


def holds(demand: Precondition, there: Content | None) -> bool:
    """Returns whether a precondition holds for an object, or for its absence."""
    if there is None or demand.absent:
        return there is None and demand.absent
    metadata = there.obj.metadata
    return demand.revision in (0, metadata.revision) and demand.uid in ("", metadata.uid)


def canonical(packed: Any, messages: Messages) -> Any:
    """The same message with Rube's type URL and deterministic bytes."""
    return pack(unpack(packed, messages))


def pack(message: Message) -> Any:
    name = message.DESCRIPTOR.full_name
    return Any(type_url=f"rube/{name}", value=message.SerializeToString(deterministic=True))


def unpack(packed: Any, messages: Messages) -> Message:
    name = packed.type_url.rpartition("/")[2]
    return (messages.get(name) or _message(name)).FromString(packed.value)


@lru_cache(maxsize=_REMEMBERED_MAX)
def _message(name: str) -> type[Message]:
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def _named(demand: Precondition, keys: Sequence[str]) -> str:
    return _key(demand.key) if demand.HasField("key") else keys[0]


def _key(key: Key) -> str:
    return "/".join(part for part in (key.type, key.namespace, key.name) if part)


def _key_of(obj: Object) -> str:
    metadata = obj.metadata
    type_name = obj.spec.type_url.rpartition("/")[2]
    return "/".join(part for part in (type_name, metadata.namespace, metadata.name) if part)
