"""The errors of requests that hold for any keyspace (etcd's v3rpc/key.go)."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import Message

from rube.sim.etcd import errors
from rube.sim.etcd.keyspace import FROM_KEY
from rube.store.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

TXN_OPS_MAX = 128
REQUEST_BYTES_MAX = 1536 * 1024
MESSAGE_BYTES_MAX = REQUEST_BYTES_MAX + 512 * 1024
"""gRPC's limit of messages, and the size from which a watch's messages are cut into fragments."""


def check_size(request: Message) -> None:
    """Raises EtcdError for a message that gRPC would not let in."""
    size = request.ByteSize()
    if size > MESSAGE_BYTES_MAX:
        raise errors.message_too_large(size, MESSAGE_BYTES_MAX)


def check_range(request: RangeRequest) -> None:
    if not request.key:
        raise errors.empty_key()


def check_put(request: PutRequest) -> None:
    if not request.key:
        raise errors.empty_key()
    if request.ignore_value and request.value:
        raise errors.value_provided()
    if request.ignore_lease and request.lease:
        raise errors.lease_provided()


def check_delete_range(request: DeleteRangeRequest) -> None:
    if not request.key:
        raise errors.empty_key()


def check_txn(request: TxnRequest) -> None:
    _check_ops(request, TXN_OPS_MAX)
    for branch in (request.success, request.failure):
        _check_duplicates(branch)


def is_write(request: TxnRequest) -> bool:
    """Returns whether either branch may write."""
    return any(
        is_write(op.request_txn) if op.HasField("request_txn") else not op.HasField("request_range")
        for branch in (request.success, request.failure)
        for op in branch
    )


def is_serializable(request: TxnRequest) -> bool:
    """Returns whether a member's own state, however old, is good enough for everything that a transaction reads."""
    return all(
        is_serializable(op.request_txn) if op.HasField("request_txn") else op.request_range.serializable
        for branch in (request.success, request.failure)
        for op in branch
    )


def _check_ops(request: TxnRequest, ops_max: int) -> None:
    count = max(len(request.compare), len(request.success), len(request.failure))
    if count > ops_max:
        raise errors.too_many_ops()
    if any(not compare.key for compare in request.compare):
        raise errors.empty_key()
    for op in (*request.success, *request.failure):
        kind = op.WhichOneof("request")
        if kind == "request_range":
            check_range(op.request_range)
        elif kind == "request_put":
            check_put(op.request_put)
        elif kind == "request_delete_range":
            check_delete_range(op.request_delete_range)
        elif kind == "request_txn":
            _check_ops(op.request_txn, ops_max - count)
        else:
            raise errors.key_not_found()


def _check_duplicates(branch: Iterable[RequestOp]) -> tuple[list[bytes], list[DeleteRangeRequest]]:
    """The keys that a branch puts and the ranges that it deletes. Raises EtcdError where they meet."""
    puts: list[bytes] = []
    deletes: list[DeleteRangeRequest] = []
    for op in branch:
        kind = op.WhichOneof("request")
        if kind == "request_put":
            puts.append(op.request_put.key)
        elif kind == "request_delete_range":
            deletes.append(op.request_delete_range)
        elif kind == "request_txn":
            for inner in (op.request_txn.success, op.request_txn.failure):
                inner_puts, inner_deletes = _check_duplicates(inner)
                puts += inner_puts
                deletes += inner_deletes
    if len(set(puts)) != len(puts) or any(_covers(delete, key) for delete in deletes for key in puts):
        raise errors.duplicate_key()
    return puts, deletes


def _covers(delete: DeleteRangeRequest, key: bytes) -> bool:
    if not delete.range_end:
        return key == delete.key
    return delete.key <= key and (delete.range_end == FROM_KEY or key < delete.range_end)
