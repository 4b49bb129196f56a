"""The namespaces and names of the cluster's own objects."""

from __future__ import annotations

from rube.api.keys import ObjectKey
from rube.api.well_known import LEASE_TYPE, NODE_LEASE_NAMESPACE, NODE_TYPE


def node_key(node: str) -> ObjectKey:
    return ObjectKey(NODE_TYPE, "", node)


def node_lease_key(node: str) -> ObjectKey:
    return ObjectKey(LEASE_TYPE, NODE_LEASE_NAMESPACE, node)
