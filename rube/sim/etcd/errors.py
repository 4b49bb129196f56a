"""The errors of etcd: codes and texts to the letter, which clients match on.

Source: etcd 3.4, etcdserver/api/v3rpc/rpctypes/error.go; each seen from a real one (tests/conformance/etcd).
"""

from __future__ import annotations

from grpc import StatusCode


class EtcdError(Exception):
    """A request that etcd refuses: gRPC's code, and the text as its details."""

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def empty_key() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided")


def key_not_found() -> EtcdError:
    """Returns the error of a put that is to keep the value of a missing key; also of an operation without a request."""
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: key not found")


def value_provided() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: value is provided")


def lease_provided() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: lease is provided")


def lease_not_found() -> EtcdError:
    return EtcdError(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")


def too_many_ops() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")


def duplicate_key() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")


def request_too_large() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")


def message_too_large(size: int, maximum: int) -> EtcdError:
    """Returns gRPC's error, before etcd sees the request."""
    return EtcdError(StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {maximum})")


def compacted() -> EtcdError:
    return EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def future_revision() -> EtcdError:
    return EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")


def no_space() -> EtcdError:
    return EtcdError(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


def no_leader() -> EtcdError:
    """Returns the error for clients that need a leader (metadata `hasleader: true`); others wait."""
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: no leader")


def timed_out() -> EtcdError:
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: request timed out")


def timed_out_by_leader_failure() -> EtcdError:
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure")


def leader_changed() -> EtcdError:
    """Returns the error of a read that waited for a former leader."""
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: leader changed")


def auth_not_enabled() -> EtcdError:
    return EtcdError(StatusCode.FAILED_PRECONDITION, "etcdserver: authentication is not enabled")


def auth_failed() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password")


def user_empty() -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")


def invalid_token() -> EtcdError:
    return EtcdError(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
