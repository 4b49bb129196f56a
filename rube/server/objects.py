"""What a write makes of an object: pure functions from what is stored and what is wanted to what is stored next.

The stored form of an object is its deterministic serialization without the revisions, which the store keeps itself.
"""

from __future__ import annotations

from google.protobuf.any_pb2 import Any

from rube import api_pb2
from rube.store import Record

__all__ = ["NODE_LABEL", "decode", "encode", "prepare_put", "prepare_status", "set_revisions"]

# Binds an object to a node. A put that omits it keeps the binding; an empty value unbinds.
NODE_LABEL = "node"

_NS_PER_S = 1_000_000_000


def decode(record: Record) -> api_pb2.Object:
    """The object that a record holds, with its revisions."""
    obj = api_pb2.Object.FromString(record.value)
    set_revisions(obj.metadata, record.create_revision, record.mod_revision)
    return obj


def encode(obj: api_pb2.Object) -> bytes:
    """The bytes to store. Clears the revisions of `obj`."""
    set_revisions(obj.metadata, 0, 0)
    return obj.SerializeToString(deterministic=True)


def set_revisions(metadata: api_pb2.Metadata, create_revision: int, revision: int) -> None:
    metadata.create_revision = create_revision
    metadata.revision = revision


def prepare_put(
    current: api_pb2.Object | None, wanted: api_pb2.Object, *, now_ns: int, uid: str
) -> api_pb2.Object | None:
    """What a put of `wanted` stores in the place of `current`; None if that changes nothing.

    `wanted.spec` must be canonical (`rube.api.registry.canonical_any`), for equality is judged on its bytes, and
    `wanted` without finalizers and delete time. Its labels, annotations, owner references and spec are taken.
    Everything else is the server's: `uid` and the time are those of the creation, the generation counts changes of
    the spec, the status is UpdateStatus's.
    """
    stored = api_pb2.Object()
    metadata = stored.metadata
    metadata.CopyFrom(wanted.metadata)
    stored.spec.CopyFrom(wanted.spec)
    if current is None:
        metadata.uid = uid
        metadata.generation = 1
        create_time = metadata.create_time
        create_time.seconds, create_time.nanos = divmod(now_ns, _NS_PER_S)
        _resolve_binding(metadata, None)
        return stored
    metadata.uid = current.metadata.uid
    metadata.generation = current.metadata.generation + (current.spec != wanted.spec)
    metadata.create_time.CopyFrom(current.metadata.create_time)
    set_revisions(metadata, current.metadata.create_revision, current.metadata.revision)
    _resolve_binding(metadata, current.metadata)
    if current.HasField("status"):
        stored.status.CopyFrom(current.status)
    return None if stored == current else stored


def prepare_status(current: api_pb2.Object, status: Any) -> api_pb2.Object | None:
    """`current` with another status; None if it is the same. `status` must be canonical."""
    if current.HasField("status") and current.status == status:
        return None
    return api_pb2.Object(metadata=current.metadata, spec=current.spec, status=status)


def _resolve_binding(metadata: api_pb2.Metadata, current: api_pb2.Metadata | None) -> None:
    labels = metadata.labels
    if NODE_LABEL not in labels:
        if current is not None and NODE_LABEL in current.labels:
            labels[NODE_LABEL] = current.labels[NODE_LABEL]
    elif not labels[NODE_LABEL]:
        del labels[NODE_LABEL]
