"""The rules which calls may be repeated after an attempt that ended without an answer.

- Reads: always.
- A put, patch or apply in which every object has a precondition on its revision or absence, a delete in which every
  object has one: yes. It takes effect at most once, for its first success makes the precondition stale. An ABORTED from
  a repeated attempt may therefore be the caller's own write: read again. An apply that changed nothing but who owns
  fields does so once more.
- Any write with validate_only: yes. It has no effect.
- Any write with a request_id: yes. The server remembers the first answer, and returns it to a repetition.
- UpdateStatus with a uid: yes. It says what is, so saying it twice does no harm.
- RenewLease: yes, for the same reason.
- UpdateLifecycle with a uid that only removes: yes. What is not there any more is left out.
- Anything after a BusyError, once the time has passed that it names.
- Any other write: only after a NotDoneError: the attempt was not begun, or the server that answers for it said by type
  that it did nothing. A repeated one could undo another client's write between. No text is read: a server may word
  anything, also what the store behind it said.

Of several attempts, one that may have been carried out decides which error the caller gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    ExplainRequest,
    GetRequest,
    HistoryRequest,
    ListRequest,
    Object,
    PatchRequest,
    Precondition,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
    WhoAmIRequest,
)
from rube.api.errors import BusyError, DeadlineExceededError, NotDoneError, RubeError, UnavailableError
from rube.api.keys import ObjectKey, key_of

Request = (
    PutRequest
    | PatchRequest
    | ApplyRequest
    | GetRequest
    | ListRequest
    | HistoryRequest
    | DeleteRequest
    | UpdateStatusRequest
    | UpdateLifecycleRequest
    | RenewLeaseRequest
    | WhoAmIRequest
    | ExplainRequest
)


def may_repeat(request: Request, error: RubeError) -> bool:
    """Returns whether this request can be attempted again after this error."""
    return isinstance(error, (NotDoneError, BusyError)) or (is_unknown(error) and is_conditional(request))


def is_unknown(error: RubeError) -> bool:
    """Returns whether the call that ended with this error may have been carried out."""
    return isinstance(error, (UnavailableError, DeadlineExceededError)) and not isinstance(error, NotDoneError)


def outcome(request: Request, last: RubeError, unknown: RubeError | None) -> RubeError:
    """Returns the error for the caller: the last attempt's, unless it says that nothing was done and an earlier
    attempt, which ended with `unknown`, may have been carried out."""
    reads = isinstance(request, (GetRequest, ListRequest, HistoryRequest, WhoAmIRequest, ExplainRequest))
    if unknown is None or reads or not isinstance(last, (NotDoneError, BusyError)):
        return last
    return UnavailableError(
        f"{last.message}; an earlier attempt may have been carried out ({unknown.message}): read before you repeat it"
    )


def is_conditional(request: Request) -> bool:
    """Returns whether the request has at most one effect, however often it is sent."""
    match request:
        case GetRequest() | ListRequest() | HistoryRequest() | WhoAmIRequest() | ExplainRequest():
            return True
        case RenewLeaseRequest():
            return True
        case _ if request.validate_only or request.request_id:
            return True
        case UpdateStatusRequest():
            return bool(request.uid)
        case UpdateLifecycleRequest():
            return bool(request.uid) and not request.add_finalizers
        case PutRequest() | ApplyRequest():
            return _all_conditional(request.objects, request.preconditions)
        case PatchRequest():
            return _all_conditional([request.object], request.preconditions)
        case DeleteRequest():
            keys = [ObjectKey.from_proto(key) for key in request.keys]
            return _conditional_keys(keys, request.preconditions).issuperset(keys)


def _all_conditional(objects: Sequence[Object], preconditions: Iterable[Precondition]) -> bool:
    # Not on a uid alone: that condition still holds after the write.
    moving = [found for found in preconditions if found.revision or found.absent]
    own = [key_of(obj) for obj in objects if obj.metadata.revision]
    keys = [key_of(obj) for obj in objects]
    return _conditional_keys(keys, moving).union(own).issuperset(keys)


def _conditional_keys(keys: list[ObjectKey], preconditions: Iterable[Precondition]) -> set[ObjectKey]:
    implied = keys[0] if len(keys) == 1 else None
    found = (ObjectKey.from_proto(p.key) if p.HasField("key") else implied for p in preconditions)
    return {key for key in found if key is not None}
