"""A controller of one's own: puts one unit on each node, and puts it again after a user has deleted it.

Tried in a simulated cluster, from this directory: `rube sim agents.yaml`. Run for real:
`rube controller --controllers agents:Agents`.
"""

from __future__ import annotations

from rube.api import ControllerSpec, Decision, Object, Service, State, Unit
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.controllers.spec import SpecController

NODE, UNIT, NAMESPACE = "api.Node", "api.systemd.Unit", "agents"


class Agents(SpecController):
    """Keyed by api.Node; sees the unit of the node's name in the namespace `agents`."""

    spec = ControllerSpec(
        name="agents",
        type=NODE,
        inputs=[ControllerSpec.Input(type=UNIT, namespace=NAMESPACE, same_name=True)],
    )

    def decide(self, state: State) -> Decision:
        decision = Decision()
        if not state.HasField("object") or state.related:
            return decision  # no such node, or it has its agent
        node = state.key.name
        put = decision.calls.add().put
        put.objects.append(_agent(node))
        put.preconditions.add(key=ObjectKey(UNIT, NAMESPACE, node).to_proto(), absent=True)
        return decision


def _agent(node: str) -> Object:
    unit = Unit(description=f"the agent of {node}")
    unit.service.exec.start.append("sleep 86400")
    unit.service.restart = Service.ON_FAILURE
    obj = Object(spec=pack(unit))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.labels["node"] = NAMESPACE, node, node
    return obj
