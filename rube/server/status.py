"""UpdateStatus: replaces an object's status and nothing else."""

from __future__ import annotations

from typing import cast

from google.protobuf.any_pb2 import Any
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from rube.api import Metadata, UpdateStatusRequest, UpdateStatusResponse
from rube.api.errors import AbortedError, InvalidArgumentError, NotFoundError
from rube.api.fields import PATHS_MAX, copy_field, parse_path
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN, Types, pack
from rube.server.backend import Backend
from rube.server.first_answers import carry_out
from rube.server.known_types import Snapshot
from rube.server.objects import prepare_status
from rube.server.preconditions import resolve_preconditions
from rube.server.put_response import metadata_after, object_after
from rube.server.stored_object import StoredObject
from rube.server.validation import canonical_status, located
from rube.server.violations import check_status
from rube.server.writes import Current, Decided, Intent, Outcome

OBSERVED_GENERATION = "observed_generation"
"""The field (uint64) of a status message for the generation of the spec that it is about."""


async def update_status(backend: Backend, request: UpdateStatusRequest) -> UpdateStatusResponse:
    """Carries out an UpdateStatusRequest; an unchanged status is not written.

    Raises NotFoundError, AbortedError if the uid is another or the generation acted on is older than that of the stored
    status, InvalidArgumentError.
    """
    return await backend.types.with_newest((request.key.type,), lambda now: _update_status(backend, now, request))


async def _update_status(backend: Backend, now: Snapshot, request: UpdateStatusRequest) -> UpdateStatusResponse:
    """Carries out the request with these types."""
    types = now.types
    key = ObjectKey.from_proto(request.key)
    types.validate_object_key(key)
    name = key.to_bytes()
    if len(request.update_mask.paths) > PATHS_MAX:
        raise InvalidArgumentError(
            f"{key}: update_mask has {len(request.update_mask.paths)} paths, more than {PATHS_MAX}: name whole fields",
            field="update_mask",
        )
    status = canonical_status(key, request.status, types)

    def decide(current: Current) -> Decided:
        obj = current[name]
        if obj is None:
            raise NotFoundError(f"{key} does not exist, so it has no status to update", key=str(key))
        if request.uid and request.uid != obj.metadata.uid:
            raise AbortedError(
                f"{key} is a newer object: its uid is {obj.metadata.uid}, not {request.uid}",
                key=str(key),
                revision=obj.metadata.revision,
            )
        merged = merge_status(key, obj, status, request, types)
        before = obj.status_any()
        previous = None if before is None else types.unpack(before)
        check_status(key, merged, previous, keep_unknown=request.keep_unknown_fields)
        changed = prepare_status(obj, pack(merged))
        return {} if changed is None else {name: changed}

    given = [request.precondition] if request.HasField("precondition") else []
    preconditions = resolve_preconditions(given, [name])
    fence = request.fence if request.HasField("fence") else None
    intent = Intent([name], preconditions, fence, decide, request.validate_only, now=now)

    def respond(outcome: Outcome) -> UpdateStatusResponse:
        response = UpdateStatusResponse(revision=outcome.revision, store_id=backend.store.store_id)
        if request.validate_only:
            response.object.CopyFrom(object_after(outcome, name, validate_only=True))
            response.metadata.CopyFrom(response.object.metadata)
        else:
            response.metadata.CopyFrom(metadata_after(outcome, name))
        return response

    return await carry_out(backend, request, intent, respond)


def merge_status(
    key: ObjectKey, obj: StoredObject, status: Any, request: UpdateStatusRequest, types: Types = BUILTIN
) -> Message:
    """Returns the status to store: the fields of `update_mask` (none: all) from `status`, the rest as it is stored.

    Pure. Raises AbortedError for an `observed_generation` older than the stored status's or newer than the object's,
    InvalidArgumentError for a mask with a path that the message does not have.
    """
    wanted = types.unpack(status)
    before = obj.status_any()
    stored = type(wanted)() if before is None else types.unpack(before)
    if not request.update_mask.paths:
        merged = wanted
    else:
        merged = type(wanted)()
        merged.CopyFrom(stored)
        with located(f"{key}: update_mask"):
            for path in request.update_mask.paths:
                copy_field(parse_path(cast(Descriptor, wanted.DESCRIPTOR), path, "status."), wanted, merged)
    if request.observed_generation:
        _observe(key, obj.metadata, stored, merged, request.observed_generation)
    return merged


def _observe(key: ObjectKey, metadata: Metadata, stored: Message, merged: Message, generation: int) -> None:
    """Sets the merged status's observed generation, unless that would go back or ahead of the object."""
    if OBSERVED_GENERATION not in merged.DESCRIPTOR.fields_by_name:
        raise InvalidArgumentError(
            f"{key}: {merged.DESCRIPTOR.full_name} has no field {OBSERVED_GENERATION}: leave it out of the request",
            field=OBSERVED_GENERATION,
        )
    seen: int = getattr(stored, OBSERVED_GENERATION)
    if not seen <= generation <= metadata.generation:
        raise AbortedError(
            f"{key}: the status is about generation {generation}, but the stored one is about {seen} already"
            if generation < seen
            else f"{key}: the status is about generation {generation}, but the object is at {metadata.generation}",
            key=str(key),
            revision=metadata.revision,
        )
    setattr(merged, OBSERVED_GENERATION, generation)
