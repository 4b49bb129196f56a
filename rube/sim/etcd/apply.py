"""The effect of a request on a keyspace, and its answer, as a pure function: every member does the same (etcd's
apply.go).

The headers of answers have their revision only; the member that answers fills in the rest.
"""

from __future__ import annotations

from rube.sim.etcd import errors
from rube.sim.etcd.keyspace import Keyspace
from rube.store.etcd.kv_pb2 import KeyValue
from rube.store.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)


def put(keyspace: Keyspace, request: PutRequest) -> PutResponse:
    """Raises EtcdError."""
    _check_ops(keyspace, [RequestOp(request_put=request)])
    return _put(keyspace, request)


def delete_range(keyspace: Keyspace, request: DeleteRangeRequest) -> DeleteRangeResponse:
    return _delete_range(keyspace, request)


def txn(keyspace: Keyspace, request: TxnRequest) -> TxnResponse:
    """Raises EtcdError, and has written nothing then."""
    # All compares, also those of transactions within, see the keyspace as it was before.
    ops, answer = _choose(keyspace, request)
    _check_ops(keyspace, ops)
    _carry_out(keyspace, ops, answer)
    answer.header.revision = _revision(keyspace)
    return answer


def range_(keyspace: Keyspace, request: RangeRequest) -> RangeResponse:
    """Raises EtcdError."""
    keyspace.check_readable(request.revision)
    found = keyspace.range(request.key, request.range_end, request.revision)
    response = RangeResponse(count=len(found))
    response.header.revision = _revision(keyspace)
    if request.count_only:
        return response
    found = [kv for kv in found if _wanted(kv, request)]
    _sort(found, request)
    if 0 < request.limit < len(found):
        response.more = True
        del found[request.limit :]
    response.kvs.extend(found)
    if request.keys_only:
        for kv in response.kvs:
            kv.ClearField("value")
    return response


def cost_bytes(request: PutRequest | TxnRequest) -> int:
    """Returns how many bytes a request may add to the database; 0 for one that puts nothing, which a full one still
    takes."""
    if isinstance(request, PutRequest):
        return 512 + len(request.key) + len(request.value)
    branches = (
        sum(
            cost_bytes(op.request_txn if op.HasField("request_txn") else op.request_put)
            for op in branch
            if op.HasField("request_put") or op.HasField("request_txn")
        )
        for branch in (request.success, request.failure)
    )
    return max(branches)


def _revision(keyspace: Keyspace) -> int:
    return keyspace.revision + keyspace.writing


def _wanted(kv: KeyValue, request: RangeRequest) -> bool:
    return (
        request.min_mod_revision <= kv.mod_revision
        and request.min_create_revision <= kv.create_revision
        and (not request.max_mod_revision or kv.mod_revision <= request.max_mod_revision)
        and (not request.max_create_revision or kv.create_revision <= request.max_create_revision)
    )


def _sort(found: list[KeyValue], request: RangeRequest) -> None:
    """They come sorted by key; another target without an order is sorted upwards."""
    targets = {
        RangeRequest.VERSION: "version",
        RangeRequest.CREATE: "create_revision",
        RangeRequest.MOD: "mod_revision",
        RangeRequest.VALUE: "value",
    }
    field = targets.get(request.sort_target, "key")
    if field != "key" or request.sort_order == RangeRequest.DESCEND:
        found.sort(key=lambda kv: getattr(kv, field), reverse=request.sort_order == RangeRequest.DESCEND)


def _put(keyspace: Keyspace, request: PutRequest) -> PutResponse:
    before = keyspace.get(request.key)
    response = PutResponse()
    if request.prev_kv and before is not None:
        response.prev_kv.CopyFrom(before)
    value = before.value if request.ignore_value and before else request.value
    lease = before.lease if request.ignore_lease and before else request.lease
    keyspace.put(request.key, value, lease)
    response.header.revision = _revision(keyspace)
    return response


def _delete_range(keyspace: Keyspace, request: DeleteRangeRequest) -> DeleteRangeResponse:
    gone = keyspace.delete(request.key, request.range_end)
    response = DeleteRangeResponse(deleted=len(gone), prev_kvs=gone if request.prev_kv else ())
    response.header.revision = _revision(keyspace)
    return response


def _choose(keyspace: Keyspace, request: TxnRequest) -> tuple[list[RequestOp], TxnResponse]:
    """Returns the operations that are to be carried out, with nested ones; and the answer, with the nested branches
    chosen."""
    succeeded = all(_holds(keyspace, compare) for compare in request.compare)
    answer = TxnResponse(succeeded=succeeded)
    answer.header.SetInParent()
    ops = list(request.success if succeeded else request.failure)
    for op in ops:
        response = answer.responses.add()
        if op.HasField("request_txn"):
            _, inner = _choose(keyspace, op.request_txn)
            response.response_txn.CopyFrom(inner)
    return ops, answer


def _carry_out(keyspace: Keyspace, ops: list[RequestOp], answer: TxnResponse) -> None:
    for op, response in zip(ops, answer.responses, strict=True):
        if op.HasField("request_txn"):
            inner = op.request_txn.success if response.response_txn.succeeded else op.request_txn.failure
            _carry_out(keyspace, list(inner), response.response_txn)
        else:
            _one(keyspace, op, response)


def _one(keyspace: Keyspace, op: RequestOp, response: ResponseOp) -> None:
    if op.HasField("request_range"):
        response.response_range.CopyFrom(range_(keyspace, op.request_range))
    elif op.HasField("request_put"):
        response.response_put.CopyFrom(_put(keyspace, op.request_put))
    else:
        response.response_delete_range.CopyFrom(_delete_range(keyspace, op.request_delete_range))


def _check_ops(keyspace: Keyspace, ops: list[RequestOp]) -> None:
    """Raises EtcdError before anything is written."""
    for op in ops:
        if op.HasField("request_range"):
            keyspace.check_readable(op.request_range.revision)
        elif op.HasField("request_put"):
            if op.request_put.ignore_value and keyspace.get(op.request_put.key) is None:
                raise errors.key_not_found()
            if op.request_put.lease:
                raise errors.lease_not_found()  # there are no leases
        elif op.HasField("request_txn"):
            inner, _ = _choose(keyspace, op.request_txn)
            _check_ops(keyspace, inner)


def _holds(keyspace: Keyspace, compare: Compare) -> bool:
    found = keyspace.range(compare.key, compare.range_end)
    if found:
        return all(_compare(kv, compare) for kv in found)
    # A value that is not there equals and precedes nothing, not even the empty one.
    return compare.target != Compare.VALUE and _compare(KeyValue(), compare)


def _compare(kv: KeyValue, compare: Compare) -> bool:
    pairs: dict[int, tuple[int | bytes, int | bytes]] = {
        Compare.VERSION: (kv.version, compare.version),
        Compare.CREATE: (kv.create_revision, compare.create_revision),
        Compare.MOD: (kv.mod_revision, compare.mod_revision),
        Compare.VALUE: (kv.value, compare.value),
        Compare.LEASE: (kv.lease, compare.lease),
    }
    actual, given = pairs[compare.target]
    order = (actual > given) - (actual < given)  # type: ignore[operator]  # both are of the target's type
    return {
        Compare.EQUAL: order == 0,
        Compare.NOT_EQUAL: order != 0,
        Compare.GREATER: order > 0,
        Compare.LESS: order < 0,
    }[compare.result]
