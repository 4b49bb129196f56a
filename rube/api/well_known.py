"""Names that Rube itself reads: its own types, and the labels and annotations that bind, move and restart units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:  # a command of ructl that needs only a name does not load protobuf
    from google.protobuf.timestamp_pb2 import Timestamp

    from rube.api import Metadata, NodeStatus


EVERY_TYPE: Final = "*"
"""Every type, in place of a type's name: in lists, watches and controllers."""
UNIT_TYPE: Final = "api.systemd.Unit"
NODE_TYPE: Final = "api.Node"
LEASE_TYPE: Final = "api.Lease"
NAMESPACE_TYPE: Final = "core.Namespace"
EVENT_TYPE: Final = "core.Event"
ROLE_TYPE: Final = "auth.Role"
BINDING_TYPE: Final = "auth.Binding"
TOKEN_TYPE: Final = "auth.Token"
REVOCATION_TYPE: Final = "auth.Revocation"
ADMINS: Final = "admins"
"""The group of users who administer the cluster."""
NODE_LEASE_NAMESPACE: Final = "node-leases"
"""Each rubelet renews the lease of its node's name here."""
LEADER_NAMESPACE: Final = "leader-leases"
"""The holder of a lease here leads the group of that name."""

NODE_LABEL: Final = "node"
"""Binds an object to the node of that name. A put that omits it keeps the binding; an empty value unbinds."""
MOVE_ANNOTATION: Final = "rube/move-to"
"""Asks for a move that stops first: `NODE` or `NODE#ID`. Without NODE, placement chooses another node. The ID tells
one request from an earlier one for the same node. A put that omits it keeps it; an empty value takes it back."""
MOVED_FROM_ANNOTATION: Final = "rube/moved-from"
"""The lost node that placement moved a unit away from. A unit that has it is not moved again by itself."""
RESTART_ANNOTATION: Final = "rube/restart"
"""Asks a unit's node to restart it once for each new value. A put that omits it keeps it; an empty value removes it."""
REGARDING_LABEL: Final = "rube/regarding"
"""The uid of the object that an event is about."""
FOREGROUND_FINALIZER: Final = "foreground-deletion"
"""The garbage collector removes it once nothing is left that the object owns and that blocks its deletion."""
ORPHAN_FINALIZER: Final = "orphan"
"""The garbage collector removes it once nothing refers to the object as its owner any more."""
CONTENTS_FINALIZER: Final = "namespace-contents"
"""The garbage collector removes it from a Namespace under deletion that is empty."""
_ID_SEPARATOR: Final = "#"


class Move(NamedTuple):
    """A request to move an object. `node` is empty if any other node will do."""

    request: str
    node: str


def bound_node(metadata: Metadata) -> str:
    """Returns the node that an object is bound to, whether or not it exists; empty if it is not bound."""
    return metadata.labels.get(NODE_LABEL, "")


def silent_since(node: NodeStatus) -> Timestamp:
    """Returns when a silent node was last heard from; if that is unknown, when its silence was noticed."""
    return node.last_heard_time if node.HasField("last_heard_time") else node.readiness_time


def requested_move(metadata: Metadata) -> Move | None:
    """Returns the pending move; None if there is none. A move to the object's present node is none."""
    if MOVE_ANNOTATION not in metadata.annotations:
        return None
    request = metadata.annotations[MOVE_ANNOTATION]
    node = request.partition(_ID_SEPARATOR)[0]
    return Move(request, node) if request and node != bound_node(metadata) else None


def move_request(node: str, request_id: str) -> str:
    """Returns the annotation's value for a new request; an empty `node` lets placement choose."""
    return f"{node}{_ID_SEPARATOR}{request_id}"
