"""The translation of etcd's errors to Rube's.

etcd's texts tell apart errors that share a status code (its api/v3rpc/rpctypes/error.go); the texts are old and stable.
"""

from __future__ import annotations

from grpc import StatusCode, aio

from rube.api.errors import (
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    RubeError,
    UnavailableError,
)
from rube.store.urls import StoreUrl

COMPACTED = "etcdserver: mvcc: required revision has been compacted"
FUTURE_REVISION = "etcdserver: mvcc: required revision is a future revision"
_NO_SPACE = "etcdserver: mvcc: database space exceeded"
_TOO_LARGE = "etcdserver: request is too large"
_TOO_MANY_OPS = "etcdserver: too many operations in txn request"
_CREDENTIALS = "etcdserver: authentication failed, invalid user ID or password"
_NO_USER = "etcdserver: user name is empty"
DENIED = "permission denied"
"""etcd's maintenance service puts "auth: " before the text, other services "etcdserver: "."""
AUTH_IS_OFF = "etcdserver: authentication is not enabled"

# The answer of a leader that transfers its leadership.
_HANDING_OVER = "raft proposal dropped"
# Answers of a member that has not carried out the request: another member may get it, even a write.
_REFUSED = frozenset(
    {
        _HANDING_OVER,
        "etcdserver: no leader",
        "etcdserver: not capable",
        "etcdserver: rpc not supported for learner",
        "etcdserver: unhealthy cluster",
        "etcdserver: too many requests",
    }
)
_STALE_TOKEN = frozenset({"etcdserver: invalid auth token", "etcdserver: revision of auth store is old"})


def was_refused(error: aio.AioRpcError) -> bool:
    """Returns whether etcd has not carried out the request, and another member or a later attempt may.

    A request that was never sent has no such error: the client begins none without a connection.
    """
    return error.details() in _REFUSED


def will_pass_soon(error: aio.AioRpcError) -> bool:
    """Returns whether to try again at the same member: other members would pass the request on to it, and it would be
    lost."""
    return error.details() == _HANDING_OVER


def is_unknown(error: aio.AioRpcError) -> bool:
    """Returns whether the request may have been carried out or not."""
    return error.code() in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED)


def has_stale_token(error: aio.AioRpcError) -> bool:
    """Returns whether etcd refuses the request until the user authenticates again."""
    return error.details() in _STALE_TOKEN


def is_too_large_here(error: aio.AioRpcError) -> bool:
    """Returns whether the answer is larger than the messages that this side takes."""
    text = error.details() or ""
    return error.code() is StatusCode.RESOURCE_EXHAUSTED and not text.startswith("etcdserver:")


def meaning_of(error: aio.AioRpcError, url: StoreUrl, target: str, *, writes: bool) -> RubeError:
    """Returns the error for the caller of the store."""
    text = error.details() or error.code().name
    known = meaning_of_text(text, url)
    if known is not None:
        return known
    where = f"etcd at {target} (store {url})"
    unknown = ": the write may have been carried out or not; read before you repeat it" if writes else ""
    match error.code():
        case StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceededError(f"{where} gave no answer in time{unknown}")
        case StatusCode.UNAVAILABLE | StatusCode.CANCELLED:
            return UnavailableError(f"{where} was lost: {text}{unknown}")
        case StatusCode.DATA_LOSS:
            return DataLossError(f"{where} reports damage: {text}: repair the cluster or restore a backup")
        case StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhaustedError(f"{where} refuses: {text}")
        case StatusCode.INVALID_ARGUMENT:
            return InvalidArgumentError(f"{where} refuses: {text}")
        case StatusCode.UNIMPLEMENTED:
            return FailedPreconditionError(f"{where} does not speak etcd's API: {text}")
    return RubeError(f"{where}: {error.code().name}: {text}{unknown}")


def meaning_of_text(text: str, url: StoreUrl) -> RubeError | None:
    """Returns the error for a text that etcd uses with any status code; None for other texts."""
    if text == _NO_SPACE:
        return ResourceExhaustedError(
            f"etcd's database of store {url} has used up its quota and takes no writes: compact it "
            "(rube store compact), give the space back (etcdctl defrag --cluster) and end the alarm "
            "(etcdctl alarm disarm), or raise etcd's --quota-backend-bytes",
            limit="quota_backend_bytes",
        )
    if text == _TOO_LARGE:
        return ResourceExhaustedError(
            f"the transaction is larger than etcd's --max-request-bytes (store {url}): split it, or raise that",
            limit="txn_bytes_max",
        )
    if text == _TOO_MANY_OPS:
        return ResourceExhaustedError(
            f"the transaction has more operations than etcd's --max-txn-ops (store {url}): split it, or raise that",
            limit="txn_ops_max",
        )
    if text == _CREDENTIALS:
        return FailedPreconditionError(
            f"etcd refuses user {url.user!r} (store {url}): check the name, and the password in password_file"
        )
    if text == _NO_USER:
        return FailedPreconditionError(f"etcd asks for a user (store {url}): write etcd://USER@…?password_file=PATH")
    if text.endswith(DENIED):
        who = f"user {url.user!r}" if url.user else "a user without a name"
        return FailedPreconditionError(
            f"etcd does not let {who} use the keys of store {url}: grant a role "
            f"(etcdctl role grant-permission ROLE readwrite {url.path or 'rube'}/ --prefix=true)"
        )
    return None
