"""The names that the cluster's own objects go by."""

from __future__ import annotations

from rube.api.keys import ObjectKey

__all__ = [
    "LEADER_NAMESPACE",
    "LEASE_TYPE",
    "NODE_LEASE_NAMESPACE",
    "NODE_TYPE",
    "UNIT_TYPE",
    "node_key",
    "node_lease_key",
]

UNIT_TYPE = "api.systemd.Unit"
NODE_TYPE = "api.Node"
LEASE_TYPE = "api.Lease"

NODE_LEASE_NAMESPACE = "node-leases"
"""Each rubelet renews the lease of its node's name here."""
LEADER_NAMESPACE = "leader-leases"
"""Whoever holds a lease here leads the group of that name."""


def node_key(node: str) -> ObjectKey:
    return ObjectKey(NODE_TYPE, "", node)


def node_lease_key(node: str) -> ObjectKey:
    return ObjectKey(LEASE_TYPE, NODE_LEASE_NAMESPACE, node)
