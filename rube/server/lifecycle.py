"""The verb update_lifecycle: changes the finalizers and the owners of an object, and nothing else."""

from __future__ import annotations

from rube.api import Precondition, UpdateLifecycleRequest, UpdateLifecycleResponse
from rube.api.errors import InvalidArgumentError, NotFoundError
from rube.api.keys import TYPE_TYPE, ObjectKey
from rube.server.backend import Backend
from rube.server.deletion import check_finalizers, check_new_finalizers, prepare_lifecycle
from rube.server.first_answers import carry_out
from rube.server.preconditions import resolve_preconditions
from rube.server.stored_object import set_revisions
from rube.server.writes import Current, Decided, Intent, Outcome


async def update_lifecycle(backend: Backend, request: UpdateLifecycleRequest) -> UpdateLifecycleResponse:
    """Carries out an UpdateLifecycleRequest; what is so already is not written.

    Raises NotFoundError, AbortedError, InvalidArgumentError; FailedPreconditionError for a finalizer that would be
    added to an object under deletion.
    """
    if request.key.type == TYPE_TYPE and request.add_finalizers:
        raise InvalidArgumentError(
            "a type has no finalizers: it is deleted once it has no objects", field="add_finalizers"
        )
    types = await backend.types.require((request.key.type,))
    name = types.object_key_bytes(request.key.type, request.key.namespace, request.key.name)
    key = ObjectKey.from_bytes(name)
    _check_request(key, request)
    preconditions = resolve_preconditions(request.preconditions, [name])
    if request.uid:
        preconditions.append((name, Precondition(uid=request.uid)))

    def decide(current: Current) -> Decided:
        obj = current[name]
        if obj is None:
            raise NotFoundError(f"{key} does not exist", key=str(key))
        check_new_finalizers(name, obj.metadata, request.add_finalizers)
        changed = prepare_lifecycle(obj, request)
        if changed is not None:
            check_finalizers("finalizers", changed.metadata.finalizers)
        return {} if changed is obj else {name: changed}

    fence = request.fence if request.HasField("fence") else None
    intent = Intent([name], preconditions, fence, decide, request.validate_only)
    return await carry_out(backend, request, intent, lambda outcome: _response(backend, name, request, outcome))


def _response(
    backend: Backend, name: bytes, request: UpdateLifecycleRequest, outcome: Outcome
) -> UpdateLifecycleResponse:
    before, after = outcome.current[name], outcome.decided.get(name)
    assert before is not None, "an absent object is an error"
    gone = name in outcome.decided and after is None
    metadata = (after or before).metadata
    if after is not None:
        revision = before.metadata.revision if request.validate_only else outcome.revision
        set_revisions(metadata, before.metadata.create_revision, revision)
    return UpdateLifecycleResponse(
        metadata=metadata, revision=outcome.revision, store_id=backend.store.store_id, gone=gone
    )


def _check_request(key: ObjectKey, request: UpdateLifecycleRequest) -> None:
    added, removed = request.add_finalizers, request.remove_finalizers
    if not (added or removed or request.remove_owners):
        raise InvalidArgumentError(
            f"{key}: the request changes nothing: set add_finalizers, remove_finalizers or remove_owners",
            field="add_finalizers",
        )
    check_finalizers("add_finalizers", added)
    check_finalizers("remove_finalizers", removed)
    both = sorted(set(added) & set(removed))
    if both:
        raise InvalidArgumentError(f"{key}: {both[0]!r} is to be added and removed", field="add_finalizers")
