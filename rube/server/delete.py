"""The verb delete: removes objects, all at one revision or none."""

from __future__ import annotations

from rube.api import DeleteRequest, DeleteResponse
from rube.api.errors import NotFoundError
from rube.api.keys import ObjectKey
from rube.api.types import BUILTIN
from rube.server.preconditions import resolve_preconditions
from rube.server.validation import check_distinct, check_object_count
from rube.server.writes import Current, Decided, Intent, Writer
from rube.store import Store


async def delete(store: Store, writer: Writer, request: DeleteRequest) -> DeleteResponse:
    """Carries out a DeleteRequest. Raises NotFoundError (metadata `key`) that names the first absent object."""
    check_object_count(len(request.keys), store.limits)
    keys = [BUILTIN.object_key_bytes(key.type, key.namespace, key.name) for key in request.keys]
    check_distinct("keys", keys)

    def decide(current: Current) -> Decided:
        for key in keys:
            if current[key] is None:
                absent = ObjectKey.from_bytes(key)
                raise NotFoundError(f"{absent} does not exist, so nothing was deleted", key=str(absent))
        return dict.fromkeys(keys)

    preconditions = resolve_preconditions(request.preconditions, keys)
    fence = request.fence if request.HasField("fence") else None
    intent = Intent(keys, preconditions, fence, decide, request.validate_only)
    outcome = await writer.write(intent)
    return DeleteResponse(revision=outcome.revision, store_id=store.store_id)
