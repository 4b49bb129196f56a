"""Requests to etcd that several modules make, and etcd's limits of one request."""

from __future__ import annotations

from rube.store.etcd import rpc_pb2 as rpc
from rube.store.etcd.layout import Layout
from rube.store.etcd.values import encode_value

OPS_MAX = 128
"""etcd's --max-txn-ops, which bounds operations and compares alike."""
REQUEST_BYTES_MAX = 1536 * 1024 - 1024
"""etcd's --max-request-bytes is 1.5 MiB; some room is left for what etcd adds."""


def mod_revision_is(key: bytes, mod_revision: int) -> rpc.Compare:
    """Returns the condition that the key was last written at that revision; 0: that it does not exist."""
    return rpc.Compare(key=key, target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, mod_revision=mod_revision)


def put_record(layout: Layout, key: bytes, value: bytes) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=layout.key(key), value=encode_value(key, value)))


def put_descriptor(layout: Layout, value: bytes) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=layout.descriptor_key, value=value))


def put_tick(layout: Layout) -> rpc.RequestOp:
    """Returns a write that changes nothing but the revision."""
    return rpc.RequestOp(request_put=rpc.PutRequest(key=layout.tick_key))
