"""Placement: gives each Unit without a `node` label to a ready node, and never moves a bound one.

The node is chosen by rendezvous hashing of the unit's uid and the nodes' names (Thaler and Ravishankar, 1998): the
choice needs nothing but the two, so it is the same whoever decides it and however often, spreads units evenly without
counting them, and costs one pass over the nodes. What it can't do is to weigh units.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from rube import api_pb2
from rube.api import cluster_pb2, controller_pb2
from rube.api.keys import ObjectKey, key_of
from rube.controllers.cluster.types import NODE_LABEL, NODE_TYPE, UNIT_TYPE
from rube.controllers.contract import Input, View

__all__ = ["Placement"]


class Placement:
    """Keyed by api.systemd.Unit; sees the nodes. Keeps no memory: the label is the decision.

    It asks for the unbound units alone, so that its copy is small however many units there are.
    """

    name = "placement"
    type = UNIT_TYPE
    selector = f"!{NODE_LABEL}"

    @property
    def inputs(self) -> Sequence[Input]:
        return (Input(type=NODE_TYPE, requeue=_unbound, select=_nodes_for),)

    def decide(self, state: controller_pb2.State) -> controller_pb2.Decision:
        decision = controller_pb2.Decision()
        if not state.HasField("object") or is_bound(state.object):
            return decision
        node = choose(state.object.metadata.uid, (obj.metadata.name for obj in state.related if takes_units(obj)))
        if node is None:
            return decision  # a node that becomes ready asks for this key again
        put = decision.calls.add().put
        bound = put.objects.add()
        bound.CopyFrom(state.object)
        bound.ClearField("status")
        bound.metadata.labels[NODE_LABEL] = node
        metadata = state.object.metadata
        put.preconditions.add(key=state.key, revision=metadata.revision, uid=metadata.uid)
        return decision


def choose(uid: str, nodes: Iterable[str]) -> str | None:
    """The node with the greatest hash for this uid; None of none."""
    return max(nodes, key=lambda node: hashlib.sha256(f"{uid}/{node}".encode()).digest(), default=None)


def is_bound(unit: api_pb2.Object) -> bool:
    """Whether it has a node, be it one that does not exist: that is the user's to mend. An empty label unbinds."""
    return bool(unit.metadata.labels.get(NODE_LABEL, ""))


def takes_units(node: api_pb2.Object) -> bool:
    spec, status = cluster_pb2.Node(), cluster_pb2.NodeStatus()
    node.spec.Unpack(spec)
    node.status.Unpack(status)
    return status.readiness == cluster_pb2.NodeStatus.READY and not spec.unschedulable


def _unbound(node: api_pb2.Object, view: View) -> Iterable[ObjectKey]:
    return [key_of(unit) for unit in view.list(UNIT_TYPE) if not is_bound(unit)] if takes_units(node) else []


def _nodes_for(key: ObjectKey, unit: api_pb2.Object | None, view: View) -> Iterable[api_pb2.Object]:
    return view.list(NODE_TYPE) if unit is not None and not is_bound(unit) else ()
