"""The verb delete: removes objects, all at one revision or none."""

from __future__ import annotations

from rube.api import DeleteRequest, DeleteResponse, Deletion
from rube.api.errors import NotFoundError
from rube.api.keys import TYPE_TYPE, ObjectKey
from rube.server.backend import Backend
from rube.server.deletion import finalizers_after_delete, prepare_deletion
from rube.server.first_answers import carry_out
from rube.server.preconditions import resolve_preconditions
from rube.server.stored_object import StoredObject
from rube.server.type_writes import delete_types
from rube.server.validation import check_distinct, check_object_count
from rube.server.writes import Current, Decided, Intent, Outcome


async def delete(backend: Backend, request: DeleteRequest) -> DeleteResponse:
    """Carries out a DeleteRequest; an object with finalizers is marked, and one that is marked already is not written.

    Raises NotFoundError (metadata `key`) that names the first absent object.
    """
    check_object_count(len(request.keys), backend.store.limits)
    if any(key.type == TYPE_TYPE for key in request.keys):
        return await delete_types(backend, request)
    types = await backend.types.require({key.type for key in request.keys})
    keys = [types.object_key_bytes(key.type, key.namespace, key.name) for key in request.keys]
    check_distinct("keys", keys)

    def decide(current: Current) -> Decided:
        now_ns = backend.host.clock.now_ns()
        decided: dict[bytes, StoredObject | None] = {}
        for key in keys:
            obj = current[key]
            if obj is None:
                absent = ObjectKey.from_bytes(key)
                raise NotFoundError(f"{absent} does not exist, so nothing was deleted", key=str(absent))
            finalizers = finalizers_after_delete(key, obj.metadata, request.propagation)
            marked = prepare_deletion(obj, finalizers, now_ns=now_ns) if finalizers else None
            if marked is not None or not finalizers:
                decided[key] = marked
        return decided

    preconditions = resolve_preconditions(request.preconditions, keys)
    fence = request.fence if request.HasField("fence") else None
    intent = Intent(keys, preconditions, fence, decide, request.validate_only)

    def respond(outcome: Outcome) -> DeleteResponse:
        deletions = [_deletion(outcome, key) for key in keys]
        return DeleteResponse(revision=outcome.revision, store_id=backend.store.store_id, deletions=deletions)

    return await carry_out(backend, request, intent, respond)


def _deletion(outcome: Outcome, key: bytes) -> Deletion:
    before = outcome.current[key]
    assert before is not None, "an absent object is an error"
    after = outcome.decided.get(key, before)
    if after is None:
        return Deletion(uid=before.metadata.uid, gone=True)
    metadata = after.metadata
    return Deletion(uid=metadata.uid, finalizers=metadata.finalizers, delete_time=metadata.delete_time)
