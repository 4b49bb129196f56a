"""The rights that every cluster has: the two roles, and those of a node to what is its own."""

from __future__ import annotations

from typing import Final

from rube.api import Role, Rule
from rube.api.keys import TYPE_TYPE
from rube.api.well_known import ADMINS, EVERY_TYPE, LEASE_TYPE, NODE_LABEL, NODE_LEASE_NAMESPACE, NODE_TYPE
from rube.server.rights.grants import EVERY_VERB, READ_VERBS
from rube.server.rights.subjects import READERS

ADMIN_ROLE: Final = "admin"
READ_ONLY_ROLE: Final = "read-only"
ROLES: Final = {
    ADMIN_ROLE: Role(rules=[Rule(verbs=[EVERY_VERB], types=[EVERY_TYPE])]),
    READ_ONLY_ROLE: Role(rules=[Rule(verbs=READ_VERBS, types=[EVERY_TYPE])]),
}
GROUP_ROLES: Final = {ADMINS: ADMIN_ROLE, READERS: READ_ONLY_ROLE}


def own_rules(kind: str, name: str) -> list[Rule]:
    """Returns what a caller of a kind may do without any binding. An apiserver has the store, and the cluster
    controllers in it call with its identity."""
    if kind == "member":
        return list(ROLES[ADMIN_ROLE].rules)
    return node_rules(name) if kind == "node" else []


def node_rules(node: str) -> list[Rule]:
    """Returns what a node may do: read what is bound to it, and write the status of that, its own Node and lease.

    It may also put events about what is bound to it, which the gate checks (`rube.server.rights.gate`), since an event
    has no label of the node.
    """
    return [
        Rule(
            verbs=["get", "list", "watch", "history", "update_status"],
            types=[EVERY_TYPE],
            label_selector=f"{NODE_LABEL}={node}",
        ),
        Rule(verbs=["get", "put", "update_status"], types=[NODE_TYPE], names=[node]),
        Rule(
            verbs=["get", "put", "renew"],
            types=[LEASE_TYPE],
            namespaces=[NODE_LEASE_NAMESPACE],
            names=[node],
        ),
        Rule(verbs=["get", "list", "watch"], types=[TYPE_TYPE]),
    ]
