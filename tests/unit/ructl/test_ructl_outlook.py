"""The outlook in `ructl describe`: the event that a unit waits for, and the next step."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from rube.api import Node, NodeStatus, Object, Unit, UnitStatus
from rube.api.types import pack
from ructl.unit_outlook import outlook_of_unit

Readiness = NodeStatus


def node(readiness: Readiness.Readiness.ValueType = Readiness.READY) -> Object:
    obj = Object(spec=pack(Node()))
    obj.metadata.name = "worker-1"
    obj.status.CopyFrom(pack(NodeStatus(readiness=readiness)))
    return obj


def unit(
    active: str = "",
    sub: str = "",
    *,
    on: str = "worker-1",
    generation: int = 2,
    seen: int = 2,
    annotations: dict[str, str] | None = None,
    stopped: bool = False,
) -> Object:
    spec = Unit(state=Unit.STOPPED if stopped else Unit.RUNNING)
    obj = Object(spec=pack(spec))
    obj.metadata.namespace, obj.metadata.name, obj.metadata.generation = "default", "web", generation
    if on:
        obj.metadata.labels["node"] = on
    obj.metadata.annotations.update(annotations or {})
    if active:
        status = UnitStatus(active_state=active, sub_state=sub, observed_generation=seen)
        obj.status.CopyFrom(pack(status))
    return obj


class Case(NamedTuple):
    name: str
    unit: Object
    node: Object | None
    waits_for: str
    next: str


CASES = [
    Case("unbound", unit(on=""), None, "a ready node that takes units", "binds it to a node"),
    Case("no such node", unit(), None, "a node called 'worker-1', which does not exist", "until that node joins"),
    Case("silent node", unit("active"), node(Readiness.SILENT), "node worker-1, which is silent", "stays bound"),
    Case("not reported", unit(), node(), "the first report of node worker-1", "starts it"),
    Case("another generation", unit("active", seen=1), node(), "to apply generation 2 (it has 1)", "restarts it"),
    Case("a restart", unit("active", annotations={"rube/restart": "x"}), node(), "to restart it", "once"),
    Case("a move", unit("active", annotations={"rube/move-to": "b#1"}), node(), "it is to move to b", "starts on b"),
    Case("it runs", unit("active", "running"), node(), "", "it is not restarted (service.restart)"),
    Case("it starts", unit("activating", "start"), node(), "its start to succeed", "start timeout"),
    Case("between restarts", unit("activating", "auto-restart"), node(), "service.time.restart", "started again"),
    Case("it stops", unit("deactivating", "stop"), node(), "its processes to end", "stop timeout"),
    Case("it failed", unit("failed", "failed"), node(), "", "ructl restart"),
    Case("down", unit("inactive", "dead", stopped=True), node(), "", "state: RUNNING"),
    Case("ended", unit("inactive", "dead"), node(), "", "ructl restart starts it again"),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_outlook(case: Case) -> None:
    outlook = outlook_of_unit(case.unit, case.node)
    assert case.waits_for in outlook.waits_for
    assert bool(outlook.waits_for) == bool(case.waits_for)
    assert case.next in outlook.next


def test_a_rubelet_that_is_asked_itself_knows_no_nodes() -> None:
    assert outlook_of_unit(unit("active", "running"), None, asks_node=True).waits_for == ""
