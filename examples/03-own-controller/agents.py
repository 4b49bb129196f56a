"""A controller of one's own: puts one unit on each node, and puts it again when it is deleted.

Tried in a simulated cluster, from this directory: `rube sim agents.yaml`. Run for real:
`rube controller --controllers agents:Agents`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rube.api import Decision, Object, Service, State, Unit
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.controllers.contract import Input, View

NODE, UNIT, NAMESPACE = "api.Node", "api.systemd.Unit", "agents"


class Agents:
    """Keyed by api.Node; sees the units in the namespace `agents`."""

    name = "agents"
    type = NODE
    selector = ""

    @property
    def inputs(self) -> Sequence[Input]:
        return (Input(type=UNIT, namespace=NAMESPACE, requeue=_node_of, select=_agent_of),)

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


def _node_of(agent: Object, view: View) -> Iterable[ObjectKey]:
    """A unit that changed or is gone: its node is decided again."""
    return [ObjectKey(NODE, "", agent.metadata.name)]


def _agent_of(key: ObjectKey, node: Object | None, view: View) -> Iterable[Object]:
    """The related objects of a node: its agent, if there is one."""
    agent = view.get(ObjectKey(UNIT, NAMESPACE, key.name))
    return [] if agent is None else [agent]
