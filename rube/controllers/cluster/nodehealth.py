"""Node health: a node is ready while its rubelet renews its lease, and silent once it has not for the lease's duration.

Only the time when this controller saw the lease change counts, by its own clock, as in Kubernetes: two machines' wall
clocks are never compared. A controller that was away itself, or whose apiserver was, has seen nothing and starts to
count again; until it has counted to the end or seen a change, it leaves the readiness as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from rube.api import ControllerSpec, CoreEvent, Decision, Lease, NodeHealthMemory, NodeStatus, Object, State
from rube.api.keys import TYPE_URL_PREFIX
from rube.api.times import NS_PER_S
from rube.api.well_known import LEASE_TYPE, NODE_LEASE_NAMESPACE, NODE_TYPE
from rube.controllers.spec import SpecController

DURATION_S_DEFAULT = 40
"""The duration of a lease that names none."""
CHECKS_PER_DURATION = 4
AWAY_CHECKS = 2
"""A controller that checked nothing for so many intervals was away."""
_Status = NodeStatus
_REPORTED = ("readiness", "readiness_time", "last_heard_time")


class NodeHealth(SpecController):
    """Keyed by api.Node; sees each node's lease. Writes readiness, its time and when the node was last heard from."""

    spec = ControllerSpec(
        name="node-health",
        type=NODE_TYPE,
        inputs=[ControllerSpec.Input(type=LEASE_TYPE, namespace=NODE_LEASE_NAMESPACE, same_name=True)],
    )

    def decide(self, state: State) -> Decision:
        decision = Decision()
        if not state.HasField("object"):
            return decision
        memory = NodeHealthMemory()
        state.memory.Unpack(memory)
        status = _Status()
        state.object.status.Unpack(status)
        revision, duration_ns = _read_lease(state.related)
        now_ns = state.now.ToNanoseconds()
        # Revisions only grow, except where a backup was restored: its lease is old, and no renewal.
        renewed = revision > memory.lease_revision and memory.HasField("change_time")
        restored = 0 < revision < memory.lease_revision
        if renewed or restored or _was_away(memory, state, duration_ns):
            memory.change_time.CopyFrom(state.now)
        memory.lease_revision = revision
        memory.check_time.CopyFrom(state.now)
        memory.clock = state.clock
        left_ns = memory.change_time.ToNanoseconds() + duration_ns - now_ns
        if left_ns <= 0:
            readiness = _Status.SILENT
        elif revision and (renewed or status.readiness == _Status.UNKNOWN):
            readiness = _Status.READY
        else:
            readiness = status.readiness
        told = _Status(readiness=readiness, readiness_time=state.now)
        if readiness == _Status.SILENT:
            told.last_heard_time.CopyFrom(memory.change_time)
        if readiness != status.readiness:
            _report(decision, state, told)
            _tell(decision, readiness, duration_ns)
        decision.memory.Pack(memory, TYPE_URL_PREFIX, deterministic=True)
        check_ns = duration_ns // CHECKS_PER_DURATION
        decision.wake_after.FromNanoseconds(min(left_ns, check_ns) if left_ns > 0 else check_ns)
        return decision


def _read_lease(related: Sequence[Object]) -> tuple[int, int]:
    """Returns the lease's revision (0: there is none) and its duration in nanoseconds."""
    lease = Lease()
    for obj in related:
        obj.spec.Unpack(lease)
    duration = lease.duration if lease.HasField("duration") else Duration(seconds=DURATION_S_DEFAULT)
    return (related[0].metadata.revision if related else 0), duration.ToNanoseconds()


def _was_away(memory: NodeHealthMemory, state: State, duration_ns: int) -> bool:
    """Returns whether this controller may have missed a change of the lease: it looks much more often than this, and a
    renewal meanwhile may still be on its way to it. The same holds if the last look was by another clock."""
    since_ns = state.now.ToNanoseconds() - memory.check_time.ToNanoseconds()
    return memory.clock != state.clock or not 0 <= since_ns <= AWAY_CHECKS * duration_ns // CHECKS_PER_DURATION


def _report(decision: Decision, state: State, told: NodeStatus) -> None:
    call = decision.calls.add().update_status
    call.key.CopyFrom(state.key)
    call.uid = state.object.metadata.uid
    call.status.Pack(told, TYPE_URL_PREFIX, deterministic=True)
    call.update_mask.paths.extend(_REPORTED)
    call.precondition.uid = state.object.metadata.uid
    call.precondition.key.CopyFrom(state.key)


def _tell(decision: Decision, readiness: NodeStatus.Readiness.ValueType, duration_ns: int) -> None:
    """Adds the event of a changed readiness."""
    if readiness == _Status.SILENT:
        why = f"its rubelet has not renewed its lease for {duration_ns / NS_PER_S:g} s"
        decision.events.add(type=CoreEvent.WARNING, reason="Silent", message=why)
    elif readiness == _Status.READY:
        decision.events.add(reason="Ready", message="its rubelet renews its lease")
