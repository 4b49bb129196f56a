"""The verb put: creates or replaces objects, all at one revision or none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rube.api import PutRequest, PutResponse
from rube.api.keys import TYPE_TYPE, type_of
from rube.api.types import Types
from rube.server.backend import Backend
from rube.server.deletion import check_new_finalizers
from rube.server.first_answers import carry_out
from rube.server.known_types import Snapshot
from rube.server.objects import prepare_put
from rube.server.owners import check_owner, owners_after
from rube.server.preconditions import implied_precondition, resolve_preconditions
from rube.server.put_response import report
from rube.server.stored_object import StoredObject
from rube.server.type_writes import push
from rube.server.validation import check_distinct, check_names, check_object, check_object_count, check_room
from rube.server.violations import check_specs
from rube.server.writes import Current, Decided, Intent, Outcome, ReadOwners


async def put(backend: Backend, request: PutRequest) -> PutResponse:
    """Carries out a PutRequest; an unchanged object is not written, and the answer has the stored one.

    `metadata.revision` or `metadata.uid` in an object is a precondition on that object, as in Kubernetes.
    """
    check_object_count(len(request.objects), backend.store.limits)
    names = _types_in(request)
    if TYPE_TYPE in names:
        return await push(backend, request)
    return await backend.types.with_newest(names, partial(_put, backend, request))


def _types_in(request: PutRequest) -> Sequence[str]:
    """Returns the types of the objects and of their owners, sorted."""
    names = set()
    for obj in request.objects:
        names.add(type_of(obj.spec))
        for owner in obj.metadata.owner_references:
            names.add(owner.type)
    return sorted(names)


async def _put(backend: Backend, request: PutRequest, now: Snapshot) -> PutResponse:
    """Carries out the request with these types."""
    pairs = [check_object(obj, index, now.types) for index, obj in enumerate(request.objects)]
    keys = [key for key, _ in pairs]
    check_distinct("objects", keys)
    preconditions = resolve_preconditions(request.preconditions, keys)
    preconditions += [
        (key, implied_precondition(wanted.metadata))
        for key, wanted in pairs
        if wanted.metadata.revision or wanted.metadata.uid
    ]

    owner = check_owner(request.owner)

    def decide(current: Current) -> Decided:
        keep = request.keep_unknown_fields
        return next_objects(backend, now.types, pairs, current, owner, keep_unknown=keep)

    fence = request.fence if request.HasField("fence") else None
    intent = Intent(keys, preconditions, fence, decide, request.validate_only, ReadOwners.KEPT, now)

    def respond(outcome: Outcome) -> PutResponse:
        response = PutResponse(revision=outcome.revision, store_id=backend.store.store_id)
        report(response, outcome, keys, validate_only=request.validate_only)
        return response

    return await carry_out(backend, request, intent, respond)


def next_objects(
    backend: Backend,
    types: Types,
    pairs: Sequence[tuple[bytes, StoredObject]],
    current: Current,
    owner: str | None,
    *,
    keep_unknown: bool = False,
) -> dict[bytes, StoredObject | None]:
    """Returns what a put of these objects, each with its key, stores. Where owners are kept, `owner` gets the fields
    that change; None: the caller says whose they are.

    A spec that is stored already is not checked again (`ApiServerConfig.spec_checks`): it may still be bound or moved.
    Raises the errors of these checks, and ResourceExhaustedError for an object that has no room to grow.
    """
    changing = [
        (index, key, wanted)
        for index, (key, wanted) in enumerate(pairs)
        if (stored := current[key]) is None or stored.spec != wanted.spec
    ]
    check_names([key for key, _ in pairs])
    limits = backend.store.limits
    for _, key, wanted in changing:
        check_room(key, wanted, limits)
    check_specs(changing, current, types, backend.config.spec_checks, keep_unknown=keep_unknown)
    now_ns = backend.host.clock.now_ns()
    decided: dict[bytes, StoredObject | None] = {}
    for key, wanted in pairs:
        stored = current[key]
        uid = backend.host.random.uid() if stored is None else ""
        if stored is not None and wanted.metadata.finalizers:
            check_new_finalizers(key, stored.metadata, wanted.metadata.finalizers)
        changed = prepare_put(stored, wanted, now_ns=now_ns, uid=uid)
        if changed is not None:
            if owner is not None and stored is not None and stored.owners is not None:
                changed.owners = owners_after(types, stored, changed, owner)
            decided[key] = changed
    return decided
