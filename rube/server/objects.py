"""The effect of a write on an object: pure functions from the stored and the wanted object to the next one."""

from __future__ import annotations

from google.protobuf.any_pb2 import Any

from rube.api import Metadata, Object
from rube.api.times import NS_PER_S
from rube.api.well_known import MOVE_ANNOTATION, NODE_LABEL, RESTART_ANNOTATION
from rube.server.deletion import finalizers_after_put
from rube.server.stored_object import StoredObject, set_revisions, status_field
from rube.store import Record

_REQUESTS = (RESTART_ANNOTATION, MOVE_ANNOTATION)
AROUND_BYTES_MAX = 64
"""Bytes around a stored object in a response: two revisions, the tags and lengths of object and event."""


def decode(record: Record) -> Object:
    """Returns the object that a record holds, with its revisions."""
    obj = Object.FromString(record.value)
    set_revisions(obj.metadata, record.create_revision, record.mod_revision)
    return obj


def size_in_response(record: Record) -> int:
    """Returns an upper bound of the bytes that the record's object, or an event of it, adds to a response."""
    return len(record.value) + AROUND_BYTES_MAX


def prepare_put(current: StoredObject | None, wanted: StoredObject, *, now_ns: int, uid: str) -> StoredObject | None:
    """Returns the object that a put of `wanted` stores in place of `current`; None if that changes nothing.

    The spec of `wanted` must be canonical (`Spec.field`), since equality is judged on its bytes. Its labels,
    annotations, owner references and spec are taken, its finalizers added. Everything else is the server's: `uid` and
    the time are those of the creation, the generation counts changes of the spec, the status is UpdateStatus's.
    """
    metadata = Metadata()
    metadata.CopyFrom(wanted.metadata)
    metadata.ClearField("delete_time")
    if current is None:
        metadata.uid = uid
        metadata.generation = 1
        metadata.field_owners = False
        create_time = metadata.create_time
        create_time.seconds, create_time.nanos = divmod(now_ns, NS_PER_S)
        _resolve_binding(metadata, None)
        _resolve_requests(metadata, None)
        return StoredObject(metadata, wanted.spec)
    before = current.metadata
    same_spec = current.spec == wanted.spec
    metadata.uid = before.uid
    metadata.generation = before.generation + (not same_spec)
    metadata.field_owners = before.field_owners
    metadata.create_time.CopyFrom(before.create_time)
    set_revisions(metadata, before.create_revision, before.revision)
    _resolve_binding(metadata, before)
    _resolve_requests(metadata, before)
    _resolve_deletion(metadata, before)
    if same_spec and metadata == before:
        return None
    return StoredObject(metadata, wanted.spec, current.status, current.owners)


def prepare_status(current: StoredObject, status: Any) -> StoredObject | None:
    """Returns `current` with another status; None if it is the same. `status` must be canonical."""
    field = status_field(status.type_url, status.value)
    if field == current.status:
        return None
    metadata = Metadata()
    metadata.CopyFrom(current.metadata)
    return StoredObject(metadata, current.spec, field, current.owners)


def say_removals(metadata: Metadata, before: Metadata) -> None:
    """Gives what `metadata` lacks of the node label and of requests the empty value, which removes them: a put keeps
    what it leaves out."""
    if NODE_LABEL in before.labels and NODE_LABEL not in metadata.labels:
        metadata.labels[NODE_LABEL] = ""
    for request in _REQUESTS:
        if request in before.annotations and request not in metadata.annotations:
            metadata.annotations[request] = ""


def _resolve_binding(metadata: Metadata, current: Metadata | None) -> None:
    labels = metadata.labels
    if NODE_LABEL not in labels:
        if current is not None and NODE_LABEL in current.labels:
            labels[NODE_LABEL] = current.labels[NODE_LABEL]
    elif not labels[NODE_LABEL]:
        del labels[NODE_LABEL]


def _resolve_deletion(metadata: Metadata, current: Metadata) -> None:
    if current.finalizers:
        finalizers = finalizers_after_put(current, metadata.finalizers)
        del metadata.finalizers[:]
        metadata.finalizers.extend(finalizers)
        if current.HasField("delete_time"):
            metadata.delete_time.CopyFrom(current.delete_time)


def _resolve_requests(metadata: Metadata, current: Metadata | None) -> None:
    """Keeps the requests on the object that a put leaves out: a file that is put again must not withdraw them."""
    annotations = metadata.annotations
    for request in _REQUESTS:
        if request not in annotations:
            if current is not None and request in current.annotations:
                annotations[request] = current.annotations[request]
        elif not annotations[request]:
            del annotations[request]
