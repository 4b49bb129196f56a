"""Deletion that waits for finalizers.

Pure functions from the stored object to the next one, as in `rube.server.objects`. The generation counts changes of the
spec alone: a deletion that waits does not change it, so that nothing restarts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import DeleteRequest, Metadata, UpdateLifecycleRequest
from rube.api.errors import FailedPreconditionError, InvalidArgumentError
from rube.api.keys import ObjectKey
from rube.api.selectors import validate_finalizer
from rube.api.times import NS_PER_S
from rube.api.well_known import CONTENTS_FINALIZER, FOREGROUND_FINALIZER, NAMESPACE_TYPE, ORPHAN_FINALIZER
from rube.server.stored_object import StoredObject

FINALIZERS_MAX = 32
_NAMESPACE_PREFIX = f"{NAMESPACE_TYPE}/".encode()
# The finalizers by which a request to delete says what becomes of other objects.
_OWN = frozenset({FOREGROUND_FINALIZER, ORPHAN_FINALIZER, CONTENTS_FINALIZER})


def check_finalizers(field: str, finalizers: Sequence[str]) -> None:
    """Raises InvalidArgumentError for a bad name, one that is named twice, and too many."""
    for name in finalizers:
        validate_finalizer(field, name)
    if len(set(finalizers)) < len(finalizers):
        raise InvalidArgumentError(f"{field} names a finalizer twice: {', '.join(finalizers)}", field=field)
    if len(finalizers) > FINALIZERS_MAX:
        raise InvalidArgumentError(f"{field} has {len(finalizers)} names, more than {FINALIZERS_MAX}", field=field)


def check_new_finalizers(key: bytes, stored: Metadata, wanted: Iterable[str]) -> None:
    """Raises FailedPreconditionError for a finalizer that would be added to an object under deletion."""
    if stored.HasField("delete_time"):
        known = frozenset(stored.finalizers)
        for name in wanted:
            if name not in known:
                raise FailedPreconditionError(
                    f"{ObjectKey.from_bytes(key)} is being deleted, so finalizer {name!r} cannot be added: leave it "
                    "out, or wait until the object is gone and put it again",
                    field="metadata.finalizers",
                )


def finalizers_after_put(stored: Metadata, wanted: Iterable[str]) -> list[str]:
    """Returns the stored finalizers and then the new ones: a put removes none."""
    return list(dict.fromkeys([*stored.finalizers, *wanted]))


def finalizers_after_delete(
    key: bytes, metadata: Metadata, propagation: DeleteRequest.Propagation.ValueType
) -> list[str]:
    """Returns the finalizers that the object waits for once it is to be deleted; none: it goes at once."""
    present = list(metadata.finalizers)
    if propagation == DeleteRequest.PROPAGATION_UNSPECIFIED:
        if metadata.HasField("delete_time"):
            return present
        wanted = [name for name in present if name in _OWN]
    else:
        wanted = []
        if propagation == DeleteRequest.FOREGROUND:
            wanted.append(FOREGROUND_FINALIZER)
        elif propagation == DeleteRequest.ORPHAN:
            wanted.append(ORPHAN_FINALIZER)
    if key.startswith(_NAMESPACE_PREFIX) and ORPHAN_FINALIZER not in wanted:
        wanted.append(CONTENTS_FINALIZER)
    kept = [name for name in present if name not in _OWN or name in wanted]
    return list(dict.fromkeys([*kept, *wanted]))


def prepare_deletion(current: StoredObject, finalizers: Sequence[str], *, now_ns: int) -> StoredObject | None:
    """Returns the object marked as one that waits for `finalizers`; None if it is so already."""
    before = current.metadata
    if before.HasField("delete_time") and list(before.finalizers) == finalizers:
        return None
    metadata = _copy(before)
    if not metadata.HasField("delete_time"):
        seconds, nanos = divmod(now_ns, NS_PER_S)
        metadata.delete_time.CopyFrom(Timestamp(seconds=seconds, nanos=nanos))
    del metadata.finalizers[:]
    metadata.finalizers.extend(finalizers)
    return StoredObject(metadata, current.spec, current.status, current.owners)


def prepare_lifecycle(current: StoredObject, request: UpdateLifecycleRequest) -> StoredObject | None:
    """Returns the object with the request's finalizers and owners; `current` itself if it is as it should be, None if
    it goes."""
    before = current.metadata
    finalizers = [name for name in before.finalizers if name not in request.remove_finalizers]
    finalizers += [name for name in request.add_finalizers if name not in finalizers]
    owners = [owner for owner in before.owner_references if owner.uid not in request.remove_owners]
    if before.HasField("delete_time") and not finalizers:
        return None
    if finalizers == list(before.finalizers) and len(owners) == len(before.owner_references):
        return current
    metadata = _copy(before)
    del metadata.finalizers[:]
    metadata.finalizers.extend(finalizers)
    del metadata.owner_references[:]
    metadata.owner_references.extend(owners)
    return StoredObject(metadata, current.spec, current.status, current.owners)


def _copy(metadata: Metadata) -> Metadata:
    copied = Metadata()
    copied.CopyFrom(metadata)
    return copied
