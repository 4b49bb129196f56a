"""Which calls may be repeated after an attempt that ended without an answer.

- Reads: always.
- A put or delete in which every object has a precondition: yes. It takes effect at most once, for the first success
  makes the precondition stale. An ABORTED from a repeated attempt may therefore be the caller's own write: read again.
- UpdateStatus with a uid: yes. It says what is, so saying it twice does no harm.
- Any other write: only if the attempt never reached a server. A repeated one could undo what somebody wrote between.
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
_NEVER_SENT = ("failed to connect", "connection refused", "name resolution", "dns resolution")


def may_repeat(request: Request, error: RubeError) -> bool:
    """Whether another attempt of this request can be made after one that ended with this error."""
    if not isinstance(error, (UnavailableError, DeadlineExceededError)):
        return False
    return is_conditional(request) or never_sent(error)


def never_sent(error: RubeError) -> bool:
    """Whether no server can have seen the call."""
    text = error.message.lower()
    return isinstance(error, UnavailableError) and any(words in text for words in _NEVER_SENT)


def is_conditional(request: Request) -> bool:
    """Whether the request has at most one effect, however often it is sent."""
    match request:
        case api_pb2.GetRequest() | api_pb2.ListRequest():
            return True
        case api_pb2.UpdateStatusRequest():
            return bool(request.uid)
        case api_pb2.PutRequest():
            own = {key_of(obj) for obj in request.objects if obj.metadata.revision}
            return _all_conditional([key_of(obj) for obj in request.objects], request.preconditions, own)
        case api_pb2.DeleteRequest():
            return _all_conditional([ObjectKey.from_proto(key) for key in request.keys], request.preconditions, set())


def _all_conditional(
    keys: list[ObjectKey], preconditions: Iterable[api_pb2.Precondition], conditional: set[ObjectKey]
) -> bool:
    for precondition in preconditions:
        if precondition.HasField("key"):
            conditional.add(ObjectKey.from_proto(precondition.key))
        elif len(keys) == 1:
            conditional.add(keys[0])
    return conditional.issuperset(keys)
