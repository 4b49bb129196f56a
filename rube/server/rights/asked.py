"""The verb of a request, and the objects that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    GetRequest,
    HistoryRequest,
    Key,
    LogsRequest,
    Object,
    PatchRequest,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.keys import ObjectKey, key_of
from rube.api.well_known import LEASE_TYPE


class Asked(NamedTuple):
    """A verb, and the keys of the objects that it is for; `keys_of` reads them from the request."""

    verb: str
    keys_of: Callable[[Any], Sequence[ObjectKey]]
    writes: bool = True
    fenced: bool = True
    """Its requests can have a fence."""


def _objects(request: PutRequest | ApplyRequest) -> Sequence[ObjectKey]:
    if len(request.objects) == 1:
        return (key_of(request.objects[0]),)
    return [key_of(obj) for obj in request.objects]


def _key(request: Any) -> Sequence[ObjectKey]:
    key: Key = request.key
    return (ObjectKey(key.type, key.namespace, key.name),)


def _patched(request: PatchRequest) -> Sequence[ObjectKey]:
    obj: Object = request.object
    return (key_of(obj),)


def _deleted(request: DeleteRequest) -> Sequence[ObjectKey]:
    return [ObjectKey(key.type, key.namespace, key.name) for key in request.keys]


def _lease(request: RenewLeaseRequest) -> Sequence[ObjectKey]:
    return (ObjectKey(LEASE_TYPE, request.namespace, request.name),)


ASKED: Final[Mapping[type[Message], Asked]] = {
    PutRequest: Asked("put", _objects),
    PatchRequest: Asked("patch", _patched),
    ApplyRequest: Asked("apply", _objects),
    DeleteRequest: Asked("delete", _deleted),
    UpdateStatusRequest: Asked("update_status", _key),
    UpdateLifecycleRequest: Asked("update_lifecycle", _key),
    RenewLeaseRequest: Asked("renew", _lease, fenced=False),
    GetRequest: Asked("get", _key, writes=False),
    HistoryRequest: Asked("history", _key, writes=False),
    LogsRequest: Asked("logs", _key, writes=False),
}
"""The requests that name their objects. Those of List and Watch say which to choose (`rube.server.rights.gate`)."""


def preconditions_of(request: Any) -> Sequence[ObjectKey]:
    """Returns the keys of a write's preconditions that have one: those of other objects, mostly."""
    if isinstance(request, RenewLeaseRequest):
        return (ObjectKey.from_proto(request.related),) if request.HasField("related") else ()
    given = (
        ([request.precondition] if request.HasField("precondition") else [])
        if isinstance(request, UpdateStatusRequest)
        else request.preconditions
    )
    return [ObjectKey.from_proto(each.key) for each in given if each.HasField("key")]
