"""The verb put: creates or replaces objects, all at one revision or none."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import ApplyResponse, Metadata, Object, PutRequest, PutResponse
from rube.api.types import BUILTIN, Types
from rube.host import Host
from rube.server.config import ApiServerConfig
from rube.server.deletion import check_new_finalizers
from rube.server.objects import prepare_put
from rube.server.owners import check_owner, owners_after
from rube.server.preconditions import implied_precondition, resolve_preconditions
from rube.server.stored_object import StoredObject, set_revisions
from rube.server.validation import check_distinct, check_names, check_object, check_object_count, check_room
from rube.server.violations import check_specs
from rube.server.writes import Current, Decided, Intent, Outcome, ReadOwners, Writer
from rube.store import Store, StoreLimits


async def put(host: Host, store: Store, writer: Writer, config: ApiServerConfig, request: PutRequest) -> PutResponse:
    """Carries out a PutRequest; an unchanged object is not written, and the answer has the stored one.

    `metadata.revision` or `metadata.uid` in an object is a precondition on that object, as in Kubernetes.
    """
    objects = request.objects
    check_object_count(len(objects), store.limits)
    pairs = [check_object(obj, index) for index, obj in enumerate(objects)]
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
        return next_objects(BUILTIN, host, store.limits, config, pairs, current, owner, keep_unknown=keep)

    fence = request.fence if request.HasField("fence") else None
    outcome = await writer.write(Intent(keys, preconditions, fence, decide, request.validate_only, ReadOwners.KEPT))
    response = PutResponse(revision=outcome.revision, store_id=store.store_id)
    report(response, outcome, keys, validate_only=request.validate_only)
    return response


def next_objects(
    types: Types,
    host: Host,
    limits: StoreLimits,
    config: ApiServerConfig,
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
    check_names(key for key, _ in pairs)
    check_specs(changing, current, types, config.spec_checks, keep_unknown=keep_unknown)
    for _, key, wanted in changing:
        check_room(key, wanted, limits)
    now_ns = host.clock.now_ns()
    decided: dict[bytes, StoredObject | None] = {}
    for key, wanted in pairs:
        stored = current[key]
        uid = host.random.uid() if stored is None else ""
        if stored is not None and wanted.metadata.finalizers:
            check_new_finalizers(key, stored.metadata, wanted.metadata.finalizers)
        changed = prepare_put(stored, wanted, now_ns=now_ns, uid=uid)
        if changed is not None:
            if owner is not None and stored is not None and stored.owners is not None:
                changed.owners = owners_after(types, stored, changed, owner)
            decided[key] = changed
    return decided


def report(
    response: PutResponse | ApplyResponse, outcome: Outcome, keys: Sequence[bytes], *, validate_only: bool
) -> None:
    """Fills in what became, or with `validate_only` would become, of each object."""
    response.outcomes.extend([outcome_of(outcome, key) for key in keys])
    if validate_only:
        response.objects.extend([_in_prospect(outcome, key) for key in keys])
        response.metadata.extend([obj.metadata for obj in response.objects])
    else:
        response.metadata.extend([metadata_after(outcome, key) for key in keys])  # half the cost of the constructor's


def metadata_after(outcome: Outcome, key: bytes) -> Metadata:
    """Returns an object's stored metadata after a write that did not delete it."""
    before = outcome.current[key]
    after = outcome.decided.get(key)
    if after is None:
        assert before is not None, "a write leaves an absent object out only where it deletes"
        return before.metadata
    metadata = after.metadata
    set_revisions(metadata, before.metadata.create_revision if before else outcome.revision, outcome.revision)
    return metadata


def outcome_of(outcome: Outcome, key: bytes) -> PutResponse.Outcome.ValueType:
    if key not in outcome.decided:
        return PutResponse.UNCHANGED
    return PutResponse.CREATED if outcome.current[key] is None else PutResponse.CHANGED


def object_after(outcome: Outcome, key: bytes, *, validate_only: bool) -> Object:
    """Returns an object as it is after a write, or with `validate_only` as it would be."""
    if validate_only:
        return _in_prospect(outcome, key)
    after = outcome.decided.get(key) or outcome.current[key]
    assert after is not None, "the write leaves an object under this key"
    obj = Object.FromString(after.spec + after.status)
    obj.metadata.CopyFrom(metadata_after(outcome, key))
    return obj


def _in_prospect(outcome: Outcome, key: bytes) -> Object:
    """Returns the object that a write would store, without the fields that only the write decides."""
    before = outcome.current[key]
    after = outcome.decided.get(key) or before
    assert after is not None, "the write stores every object that it names"
    obj = Object.FromString(after.spec + after.status)
    obj.metadata.CopyFrom(after.metadata)
    if before is None:
        obj.metadata.ClearField("uid")
        obj.metadata.ClearField("create_time")
        set_revisions(obj.metadata, 0, 0)
    else:
        set_revisions(obj.metadata, before.metadata.create_revision, before.metadata.revision)
    return obj
