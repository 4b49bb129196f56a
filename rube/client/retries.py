"""Which calls may be repeated after an attempt that ended without an answer.

- Reads: always.
- A put in which every object has a precondition on its revision or absence, a delete in which every object has one:
  yes. It takes effect at most once, for its first success makes the precondition stale. An ABORTED from a repeated
  attempt may therefore be the caller's own write: read again.
- A put or delete with validate_only: yes. It has no effect.
- UpdateStatus with a uid: yes. It says what is, so saying it twice does no harm.
- Any other write: only if the attempt never reached a server, or the server said that it did nothing. A repeated one
  could undo what somebody wrote between.
"""

from __future__ import annotations

from collections.abc import Iterable

from rube import api_pb2
from rube.api.errors import DeadlineExceededError, RubeError, UnavailableError
from rube.api.keys import ObjectKey, key_of

__all__ = ["is_conditional", "may_repeat"]

Request = (
    api_pb2.PutRequest | api_pb2.GetRequest | api_pb2.ListRequest | api_pb2.DeleteRequest | api_pb2.UpdateStatusRequest
)
# How gRPC words an UNAVAILABLE of a call that found no connection to be sent on.
_NEVER_SENT = ("failed to connect", "connection refused", "errors resolving", "name resolution", "dns resolution")


def may_repeat(request: Request, error: RubeError) -> bool:
    """Whether another attempt of this request can be made after one that ended with this error."""
    if not isinstance(error, (UnavailableError, DeadlineExceededError)):
        return False
    return is_conditional(request) or never_done(error)


def never_done(error: RubeError) -> bool:
    """Whether no server can have seen the call, or the one that did refused it."""
    if not isinstance(error, UnavailableError):
        return False
    text = error.message.lower()
    return "refused" in error.metadata or any(words in text for words in _NEVER_SENT)


def is_conditional(request: Request) -> bool:
    """Whether the request has at most one effect, however often it is sent."""
    match request:
        case api_pb2.GetRequest() | api_pb2.ListRequest():
            return True
        case api_pb2.UpdateStatusRequest():
            return bool(request.uid)
        case api_pb2.PutRequest(validate_only=True) | api_pb2.DeleteRequest(validate_only=True):
            return True
        case api_pb2.PutRequest():
            # Not on a uid alone: that still holds after the put.
            moving = [found for found in request.preconditions if found.revision or found.absent]
            own = [key_of(obj) for obj in request.objects if obj.metadata.revision]
            keys = [key_of(obj) for obj in request.objects]
            return _conditional_keys(keys, moving).union(own).issuperset(keys)
        case api_pb2.DeleteRequest():
            keys = [ObjectKey.from_proto(key) for key in request.keys]
            return _conditional_keys(keys, request.preconditions).issuperset(keys)


def _conditional_keys(keys: list[ObjectKey], preconditions: Iterable[api_pb2.Precondition]) -> set[ObjectKey]:
    implied = keys[0] if len(keys) == 1 else None
    found = (ObjectKey.from_proto(p.key) if p.HasField("key") else implied for p in preconditions)
    return {key for key in found if key is not None}
