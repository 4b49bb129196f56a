"""Placement: the binding of units to nodes, and their status while the node cannot report it.

- A unit without a `node` label goes to the ready node with the fewest units; rendezvous hashing of the unit's uid and
  the nodes' names (Thaler and Ravishankar, 1998) decides between equal ones.
- A bound unit stays, but for two cases. A user asks for a move (annotation `rube/move-to`): the unit's node stops and
  removes it and says so in `released_for`, and only then placement binds it to another one. Or its node is lost, and
  `node_lost.move_after` allows to move it, once; then it may run twice.
- The status of a unit whose node is silent or does not exist becomes `unknown`, with the last known state. The
  rubelet's next report replaces all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from rube.api import CoreEvent, Decision, Node, NodeStatus, Object, State, Unit, UnitStatus
from rube.api.keys import TYPE_URL_PREFIX, ObjectKey
from rube.api.times import NS_PER_S
from rube.api.well_known import (
    MOVE_ANNOTATION,
    MOVED_FROM_ANNOTATION,
    NODE_LABEL,
    NODE_TYPE,
    UNIT_TYPE,
    Move,
    bound_node,
    requested_move,
    silent_since,
)
from rube.controllers.cluster.types import node_key
from rube.controllers.contract import Input, View

GRACE_S = 5.0
"""A unit may wait so long for a node before its status says why."""
RETRY_S = 5.0
"""Between two looks for a node that could take a unit which has to move."""
_READY, _SILENT = NodeStatus.READY, NodeStatus.SILENT
_NO_NODE = "no node takes units: none is ready and schedulable; look at 'ructl list -t Node'"
_SHOWN = ("active_state", "sub_state", "unknown_since", "message")


class Placement:
    """Keyed by api.systemd.Unit; sees the nodes. It needs no memory: labels, annotations and status hold its state."""

    name = "placement"
    type = UNIT_TYPE
    selector = ""

    @property
    def inputs(self) -> Sequence[Input]:
        return (Input(type=NODE_TYPE, requeue=_units_of, select=_nodes_for),)

    def transform(self, obj: Object) -> Object:
        """Returns the parts of a unit that `decide` reads if it stays where it is: 50,000 whole units would be 200
        MB."""
        if not bound_node(obj.metadata) or MOVE_ANNOTATION in obj.metadata.annotations:
            return obj
        spec = Unit()
        obj.spec.Unpack(spec)
        return obj if spec.HasField("node_lost") else _slim(obj)

    def decide(self, state: State) -> Decision:
        decision = Decision()
        if not state.HasField("object"):
            return decision
        metadata = state.object.metadata
        node = bound_node(metadata)
        move = requested_move(metadata)
        if not node:
            if not metadata.HasField("delete_time"):  # nothing is started that is to go
                self._place(decision, state)
        elif move is not None:
            self._move(decision, state, move)
        elif MOVE_ANNOTATION in metadata.annotations:  # to where it is already
            _bind(decision, state, node)
        if node and not decision.calls:
            self._look_after(decision, state, node)
        return decision

    def _place(self, decision: Decision, state: State) -> None:
        node = choose(state.object.metadata.uid, (obj.metadata.name for obj in state.related if takes_units(obj)))
        if node is None:
            self._explain(decision, state, "NoNode", _NO_NODE)  # a node that becomes ready asks for this key again
        else:
            _bind(decision, state, node)
            decision.events.add(reason="Placed", message=f"placed on node {node}")

    def _move(self, decision: Decision, state: State, move: Move) -> None:
        """Binds the unit to another node once its node has released it."""
        status = _status(state.object)
        here = bound_node(state.object.metadata)
        if status.released_for != move.request or status.node != here:
            return
        wanted = move.node or _choose_other(state, here)
        if wanted is None:
            decision.wake_after.FromNanoseconds(round(RETRY_S * NS_PER_S))
        else:
            _bind(decision, state, wanted)
            decision.events.add(reason="Moved", message=f"moved from node {here} to {wanted}, as asked")

    def _look_after(self, decision: Decision, state: State, name: str) -> None:
        """Handles a bound unit whose node is not there."""
        node = next((obj for obj in state.related if obj.metadata.name == name), None)
        if node is None:
            why = f"node {name!r} does not exist: start a rubelet with --node {name}, or give the unit another node"
            self._explain(decision, state, "NodeMissing", why)
            return
        heard = _node_status(node)
        if heard.readiness != _SILENT:
            return
        since = silent_since(heard)
        if not self._leave_lost(decision, state, name, since):
            _mark_unknown(decision, state, f"node {name} is silent since {_time_text(since)}", since)

    def _leave_lost(self, decision: Decision, state: State, name: str, since: Timestamp) -> bool:
        """Moves a unit away from a lost node if its policy says so; otherwise returns False."""
        unit = Unit()
        state.object.spec.Unpack(unit)
        if not unit.node_lost.HasField("move_after") or MOVED_FROM_ANNOTATION in state.object.metadata.annotations:
            return False
        left_ns = since.ToNanoseconds() + round(unit.node_lost.move_after * NS_PER_S) - state.now.ToNanoseconds()
        if left_ns > 0:
            decision.wake_after.FromNanoseconds(left_ns)
            return False
        other = _choose_other(state, name)
        if other is None:
            decision.wake_after.FromNanoseconds(round(RETRY_S * NS_PER_S))
            return False
        _bind(decision, state, other, lost=name)
        moved = f"moved from node {name}, which is lost, to {other}, as node_lost.move_after allows"
        decision.events.add(type=CoreEvent.WARNING, reason="MovedFromLostNode", message=moved)
        return True

    def _explain(self, decision: Decision, state: State, reason: str, why: str) -> None:
        """Says in the status why nothing happens, once that has lasted, and in an event."""
        waited_ns = state.now.ToNanoseconds() - state.object.metadata.create_time.ToNanoseconds()
        left_ns = round(GRACE_S * NS_PER_S) - waited_ns
        if 0 < left_ns <= round(GRACE_S * NS_PER_S):
            decision.wake_after.FromNanoseconds(left_ns)
            return
        _mark_unknown(decision, state, why, state.now)
        decision.events.add(type=CoreEvent.WARNING, reason=reason, message=why)


def choose(uid: str, nodes: Iterable[str]) -> str | None:
    """Returns the node with the greatest hash for this uid; None if there are no nodes."""
    return max(nodes, key=lambda node: hashlib.sha256(f"{uid}/{node}".encode()).digest(), default=None)


def _choose_other(state: State, here: str) -> str | None:
    """Returns a node that takes units and is not `here`."""
    others = (obj.metadata.name for obj in state.related if obj.metadata.name != here and takes_units(obj))
    return choose(state.object.metadata.uid, others)


def takes_units(node: Object) -> bool:
    spec = Node()
    node.spec.Unpack(spec)
    return _node_status(node).readiness == _READY and not spec.unschedulable


def _node_status(node: Object) -> NodeStatus:
    status = NodeStatus()
    node.status.Unpack(status)
    return status


def _status(unit: Object) -> UnitStatus:
    status = UnitStatus()
    unit.status.Unpack(status)
    return status


def _units_of(node: Object, view: View) -> Iterable[ObjectKey]:
    """Returns the units that a change of this node may concern: those bound to it, and those that wait for any node."""
    yield from sorted(view.labelled(UNIT_TYPE, NODE_LABEL, node.metadata.name))
    if takes_units(node):
        yield from sorted(view.labelled(UNIT_TYPE, NODE_LABEL, ""))


def _nodes_for(key: ObjectKey, unit: Object | None, view: View) -> Iterable[Object]:
    """Returns the best nodes for a unit without a node; for a bound one its own, and the one that it may have to go
    to."""
    if unit is None:
        return ()
    here = bound_node(unit.metadata)
    if not here:
        return _least_loaded(view, "")
    node = view.get(node_key(here))
    own = [] if node is None else [node]
    stays = unit.spec.value == b"" and MOVE_ANNOTATION not in unit.metadata.annotations
    return own if stays else [*own, *_least_loaded(view, here)]


def _least_loaded(view: View, but: str) -> list[Object]:
    """Returns those nodes that take units and have the fewest bound to them."""
    nodes = [obj for obj in view.list(NODE_TYPE) if obj.metadata.name != but and takes_units(obj)]
    loads = [len(view.labelled(UNIT_TYPE, NODE_LABEL, obj.metadata.name)) for obj in nodes]
    return [obj for obj, load in zip(nodes, loads, strict=True) if load == min(loads)]


def _slim(obj: Object) -> Object:
    """Returns a unit with key, uid, binding, and the parts of its status that are about now."""
    slim = Object()
    metadata = slim.metadata
    metadata.namespace, metadata.name, metadata.uid = obj.metadata.namespace, obj.metadata.name, obj.metadata.uid
    metadata.revision = obj.metadata.revision
    metadata.create_time.CopyFrom(obj.metadata.create_time)
    metadata.labels[NODE_LABEL] = obj.metadata.labels[NODE_LABEL]
    slim.spec.type_url = obj.spec.type_url
    status = _status(obj)
    kept = UnitStatus(active_state=status.active_state, sub_state=status.sub_state)
    if status.HasField("unknown_since"):
        kept.unknown_since.CopyFrom(status.unknown_since)
        kept.message = status.message
    slim.status.Pack(kept, TYPE_URL_PREFIX, deterministic=True)
    return slim


def _bind(decision: Decision, state: State, node: str, *, lost: str = "") -> None:
    """Puts the unit with that node; `lost` is the lost node that it was moved away from."""
    put = decision.calls.add().put
    bound = put.objects.add()
    bound.CopyFrom(state.object)
    bound.ClearField("status")
    bound.metadata.labels[NODE_LABEL] = node
    if MOVE_ANNOTATION in bound.metadata.annotations:
        bound.metadata.annotations[MOVE_ANNOTATION] = ""  # removes it
    if lost:
        bound.metadata.annotations[MOVED_FROM_ANNOTATION] = lost
    metadata = state.object.metadata
    put.preconditions.add(key=state.key, revision=metadata.revision, uid=metadata.uid)


def _mark_unknown(decision: Decision, state: State, why: str, since: Timestamp) -> None:
    """Writes `unknown` into the status, unless it is there already."""
    before = _status(state.object)
    if before.HasField("unknown_since") and before.message.startswith(why):
        return
    last = (
        f"; then it was {before.active_state} ({before.sub_state})"
        if before.active_state not in ("", "unknown")
        else ""
    )
    told = UnitStatus(unknown_since=since, message=f"{why}{last}")
    if before.active_state:
        told.active_state = "unknown"
    call = decision.calls.add().update_status
    call.key.CopyFrom(state.key)
    call.uid = state.object.metadata.uid
    call.status.Pack(told, TYPE_URL_PREFIX, deterministic=True)
    call.update_mask.paths.extend(_SHOWN)
    call.precondition.key.CopyFrom(state.key)
    call.precondition.uid = state.object.metadata.uid
    call.precondition.revision = state.object.metadata.revision


def _time_text(time: Timestamp) -> str:
    """Returns RFC 3339 in whole seconds."""
    return Timestamp(seconds=time.seconds).ToJsonString()
