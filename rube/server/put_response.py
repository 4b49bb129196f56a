"""The answer to a write of objects."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import ApplyResponse, Metadata, Object, PutResponse
from rube.server.stored_object import set_revisions
from rube.server.writes import Outcome


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
