"""The verb patch: changes the fields of an object that a mask names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from rube.api import Metadata, PatchRequest, PatchResponse
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.fields import PATHS_MAX, FieldPath, copy_field, merge_fields, parse_path
from rube.api.keys import TYPE_TYPE, ObjectKey, type_of
from rube.api.spelling import quoted, suggestion
from rube.api.types import Types
from rube.server.backend import Backend
from rube.server.first_answers import carry_out
from rube.server.known_types import Snapshot
from rube.server.objects import say_removals
from rube.server.owners import METADATA_FIELDS, check_owner
from rube.server.preconditions import implied_precondition, resolve_preconditions
from rube.server.put import next_objects
from rube.server.put_response import object_after, outcome_of
from rube.server.specs import spec_of
from rube.server.stored_object import StoredObject
from rube.server.validation import check_metadata, located
from rube.server.writes import Current, Decided, Intent, Outcome, ReadOwners

EVERYTHING = "*"
_KEY_FIELDS = ("namespace", "name")


async def patch(backend: Backend, request: PatchRequest) -> PatchResponse:
    """Carries out a PatchRequest; an object that is so already is not written.

    What results is checked like an object that is put. Raises NotFoundError, and InvalidArgumentError for a path that
    the object does not have or that a patch cannot set.
    """
    type_name = type_of(request.object.spec)
    if not type_name:
        raise InvalidArgumentError(
            "object.spec is not set: it names the type, also where the mask names no field of it; set "
            'spec { type_url: "rube/api.systemd.Unit" }',
            field="object.spec",
        )
    if type_name == TYPE_TYPE:
        raise InvalidArgumentError("a type is not patched: put its next version", field="object.spec")
    return await backend.types.with_newest((type_name,), lambda now: _patch(backend, now, request))


async def _patch(backend: Backend, now: Snapshot, request: PatchRequest) -> PatchResponse:
    """Carries out the request with these types."""
    given = request.object
    name = ObjectKey(type_of(given.spec), given.metadata.namespace, given.metadata.name)
    key = now.types.object_key_bytes(*name)
    values = now.types.unpack(given.spec)
    with located(f"object ({name})"):
        mask = Mask.parse(request.update_mask.paths, cast(Descriptor, values.DESCRIPTOR))
    owner = check_owner(request.owner)

    def decide(current: Current) -> Decided:
        stored = current[key]
        if stored is None:
            raise NotFoundError(f"{name} does not exist, so it cannot be patched: put it", key=str(name))
        wanted = patched(now.types, stored, given.metadata, values, mask)
        with located(f"object ({name}), as patched"):
            check_metadata(wanted.metadata, now.types)
        keep = request.keep_unknown_fields
        return next_objects(backend, now.types, [(key, wanted)], current, owner, keep_unknown=keep)

    preconditions = resolve_preconditions(request.preconditions, [key])
    if given.metadata.revision or given.metadata.uid:
        preconditions.append((key, implied_precondition(given.metadata)))
    fence = request.fence if request.HasField("fence") else None
    intent = Intent([key], preconditions, fence, decide, request.validate_only, ReadOwners.KEPT, now)

    def respond(outcome: Outcome) -> PatchResponse:
        return PatchResponse(
            object=object_after(outcome, key, validate_only=request.validate_only),
            revision=outcome.revision,
            store_id=backend.store.store_id,
            outcome=outcome_of(outcome, key),
        )

    return await carry_out(backend, request, intent, respond)


class Mask(NamedTuple):
    """The fields that a patch sets: paths below the metadata, and below the spec."""

    metadata: Sequence[FieldPath]
    spec: Sequence[FieldPath]
    whole_spec: bool = False
    """The whole spec."""
    all_set: bool = False
    """The fields that the patch sets, instead of any that are named."""

    @classmethod
    def parse(cls, paths: Sequence[str], spec: Descriptor) -> Mask:
        """Raises InvalidArgumentError for a path that the object does not have, or that a patch cannot set."""
        if len(paths) > PATHS_MAX:
            raise InvalidArgumentError(
                f"update_mask has {len(paths)} paths, more than {PATHS_MAX}: name whole fields", field="update_mask"
            )
        if not paths:
            return cls((), (), all_set=True)
        if EVERYTHING in paths:
            return cls([_metadata_path(name) for name in METADATA_FIELDS], (), whole_spec=True)
        found = cls([], [], whole_spec="spec" in paths)
        for path in paths:
            first, dot, rest = path.partition(".")
            if first == "spec" and dot:
                cast(list[FieldPath], found.spec).append(parse_path(spec, rest, "spec."))
            elif first == "metadata" and dot:
                cast(list[FieldPath], found.metadata).append(_metadata_path(rest))
            elif path != "spec":
                raise _unpatchable(path, first)
        return found


def _metadata_path(rest: str) -> FieldPath:
    path = parse_path(Metadata.DESCRIPTOR, rest, "metadata.")
    name = path[0].shape.name
    if name in _KEY_FIELDS:
        raise InvalidArgumentError(
            f"path 'metadata.{name}': it is a part of the object's key and never changes: put another object",
            field=f"metadata.{name}",
        )
    if name not in METADATA_FIELDS:
        raise InvalidArgumentError(
            f"path 'metadata.{name}': the server sets it; a patch can set {', '.join(METADATA_FIELDS)}",
            field=f"metadata.{name}",
        )
    return path


def _unpatchable(path: str, first: str) -> InvalidArgumentError:
    if first == "status":
        why = "UpdateStatus writes the status, and nothing else does"
    elif first == "metadata":
        why = f"name a field of it: {', '.join(f'metadata.{name}' for name in METADATA_FIELDS)}"
    else:
        why = f"api.Object has no field {quoted(first)}; {suggestion(first, ('metadata', 'spec'))}"
    return InvalidArgumentError(f"path {quoted(path)}: {why}", field=path)


def patched(types: Types, stored: StoredObject, metadata: Metadata, spec: Message, mask: Mask) -> StoredObject:
    """Returns the object to put: the stored one with the fields of the mask from `metadata` and `spec`. Pure."""
    after = Metadata()
    after.CopyFrom(stored.metadata)
    if mask.all_set:
        merge_fields(metadata, after, names=METADATA_FIELDS)
    for path in mask.metadata:
        copy_field(path, metadata, after)
    say_removals(after, stored.metadata)
    for name in stored.metadata.finalizers:
        if name not in after.finalizers:
            raise InvalidArgumentError(
                f"path 'metadata.finalizers': a patch cannot remove {name!r}: UpdateLifecycle removes it",
                field="metadata.finalizers",
            )
    if not (mask.spec or mask.whole_spec or mask.all_set):
        return StoredObject(after, stored.spec)
    changed = spec_of(_patched_spec(types, stored, spec, mask))
    return StoredObject(after, changed.field, parsed=changed)


def _patched_spec(types: Types, stored: StoredObject, spec: Message, mask: Mask) -> Message:
    after = spec if mask.whole_spec else types.unpack(stored.spec_any())
    if mask.all_set:
        merge_fields(spec, after, unknown=True)
    if not mask.whole_spec:
        for path in mask.spec:
            copy_field(path, spec, after)
    return after
