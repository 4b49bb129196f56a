"""Preconditions and fences: pure checks of the objects that were read.

A write commits with a compare on each revision that these checks were made on, so that they still hold when it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rube.api import Fence, Metadata, Precondition
from rube.api.errors import AbortedError, DataLossError, InvalidArgumentError, ResourceExhaustedError
from rube.api.keys import INTERNAL_PREFIX, ObjectKey, validate_key
from rube.server.stored_object import StoredObject
from rube.store import Op, Record

_FENCE_PREFIX = INTERNAL_PREFIX + b"fence/"
_GROUP_BYTES_MAX = 253
PRECONDITIONS_MAX = 1_000


def implied_precondition(metadata: Metadata) -> Precondition:
    """Returns the precondition in an object's metadata: as in Kubernetes, an object that has a revision or a uid may
    only replace exactly that one."""
    return Precondition(revision=metadata.revision, uid=metadata.uid)


def resolve_preconditions(
    preconditions: Sequence[Precondition], named: Sequence[bytes]
) -> list[tuple[bytes, Precondition]]:
    """Returns each precondition with its key (`ObjectKey.to_bytes`), which may be left out if the request names exactly
    one object.

    Raises InvalidArgumentError for one that has no key, demands nothing or contradicts itself.
    """
    if len(preconditions) > PRECONDITIONS_MAX:
        raise ResourceExhaustedError(
            f"{len(preconditions)} preconditions in one request, which takes at most {PRECONDITIONS_MAX}: use several "
            "requests",
            limit=PRECONDITIONS_MAX,
            value=len(preconditions),
        )
    resolved = []
    for index, precondition in enumerate(preconditions):
        field = f"preconditions[{index}]"
        if precondition.HasField("key"):
            demanded = ObjectKey.from_proto(precondition.key)
            validate_key(demanded)
            key = demanded.to_bytes()
        elif len(named) == 1:
            key = named[0]
        else:
            raise InvalidArgumentError(
                f"{field} has no key, and the request names {len(named)} objects: say which one is meant", field=field
            )
        _validate_demand(field, precondition)
        resolved.append((key, precondition))
    return resolved


def _validate_demand(field: str, precondition: Precondition) -> None:
    present = bool(precondition.revision or precondition.uid)
    if precondition.absent and present:
        raise InvalidArgumentError(f"{field} demands an absent object and also its revision or uid", field=field)
    if not precondition.absent and not present:
        raise InvalidArgumentError(f"{field} demands nothing: set revision, uid or absent", field=field)


def check_preconditions(
    preconditions: Iterable[tuple[bytes, Precondition]], current: Mapping[bytes, StoredObject | None]
) -> None:
    """Raises AbortedError (metadata `key`, `revision`) for the first precondition that does not hold."""
    for raw_key, precondition in preconditions:
        key, obj = ObjectKey.from_bytes(raw_key), current[raw_key]
        if obj is None:
            if not precondition.absent:
                raise AbortedError(f"{key} does not exist, but must", key=str(key), revision=0)
            continue
        metadata = obj.metadata
        if precondition.absent:
            wrong = f"{key} exists (revision {metadata.revision}), but must not"
        elif precondition.uid and precondition.uid != metadata.uid:
            wrong = f"{key} is a newer object: its uid is {metadata.uid}, not {precondition.uid}"
        elif precondition.revision and precondition.revision != metadata.revision:
            wrong = f"{key} has changed: it is at revision {metadata.revision}, not {precondition.revision}"
        else:
            continue
        raise AbortedError(wrong, key=str(key), revision=metadata.revision)


def fence_key(fence: Fence) -> bytes:
    """Returns the key under which the store keeps the highest term of the fence's group. Raises InvalidArgumentError
    for a bad fence."""
    if not fence.group or len(fence.group.encode()) > _GROUP_BYTES_MAX:
        raise InvalidArgumentError(f"fence.group must have 1 to {_GROUP_BYTES_MAX} bytes", field="fence.group")
    if not fence.term:
        raise InvalidArgumentError(f"fence of group {fence.group!r} has no term", field="fence.term")
    return _FENCE_PREFIX + fence.group.encode()


def check_fence(fence: Fence, record: Record | None) -> Op | None:
    """Returns the op that stores the fence's term, if it is a new one.

    Raises AbortedError (metadata `fence`, `term`) if a higher term of the group has written.
    """
    seen = 0
    if record is not None:
        try:
            seen = int(record.value)
        except ValueError as error:
            raise DataLossError(f"the stored term of fence {fence.group!r} is not a number") from error
    if fence.term < seen:
        raise AbortedError(
            f"group {fence.group!r} has a newer leader: term {seen} has written, this is term {fence.term}",
            fence=fence.group,
            term=seen,
        )
    return Op(fence_key(fence), b"%d" % fence.term) if fence.term > seen else None
