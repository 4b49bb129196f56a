"""The outlook of a unit: what it waits for, and what happens next to it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from rube.api import NodeStatus, Object, Service, Unit, UnitStatus
from rube.api.well_known import RESTART_ANNOTATION, bound_node, requested_move

_Service = Service


class Outlook(NamedTuple):
    """The outlook in words; `waits_for` is empty if it waits for nothing."""

    waits_for: str
    next: str


def outlook_of_unit(obj: Object, node: Object | None, *, asks_node: bool = False) -> Outlook:
    """Returns the outlook. `node`: the one that the unit is bound to, if it exists; `asks_node`: its node has not been
    asked."""
    spec, status = Unit(), UnitStatus()
    obj.spec.Unpack(spec)
    obj.status.Unpack(status)
    name = bound_node(obj.metadata)
    if not name:
        return Outlook("a ready node that takes units", "the placement controller binds it to a node, which starts it")
    if node is None and not asks_node:
        return Outlook(
            f"a node called {name!r}, which does not exist", "nothing, until that node joins or the label changes"
        )
    if node is not None and (silent := _silence(node)):
        return Outlook(f"node {name}, which is {silent}", _while_silent(spec, name))
    if (move := requested_move(obj.metadata)) is not None:
        where = move.node or "a node that placement chooses"
        return Outlook(f"node {name} to stop it, since it is to move to {where}", f"it starts on {where}")
    if not status.active_state:
        return Outlook(f"the first report of node {name}", "the node starts it and reports")
    if status.observed_generation < obj.metadata.generation:
        return Outlook(
            f"node {name} to apply generation {obj.metadata.generation} (it has {status.observed_generation})",
            "the node restarts it with the new definition",
        )
    request = obj.metadata.annotations.get(RESTART_ANNOTATION, "")
    if request not in ("", status.restart_request) and spec.state != Unit.STOPPED:
        return Outlook(f"node {name} to restart it, as was asked", "the node restarts it once and reports")
    return _of_state(spec, status)


def _silence(node: Object) -> str:
    status = NodeStatus()
    node.status.Unpack(status)
    if status.readiness == NodeStatus.READY:
        return ""
    return "silent" if status.readiness == NodeStatus.SILENT else "not heard of yet"


def _while_silent(spec: Unit, name: str) -> str:
    if spec.node_lost.move_after:
        return f"after {spec.node_lost.move_after:g} s of silence placement moves it to another node"
    return (
        f"it stays bound to {name}, which goes on from its own copy; to run it elsewhere: ructl move UNIT NODE --force"
    )


def _of_state(spec: Unit, status: UnitStatus) -> Outlook:
    match status.active_state, status.sub_state:
        case "active" | "reloading", _:
            if spec.state == Unit.STOPPED:
                return Outlook("its processes to end", "it stays down")
            return Outlook("", _policy(spec))
        case "activating", "auto-restart":
            return Outlook("the time between its restarts (service.time.restart)", "it is started again")
        case "activating", _:
            return Outlook("its start to succeed", "it is active, or fails at its start timeout")
        case "deactivating", _:
            return Outlook("its processes to end", "it is down, or is killed at its stop timeout")
        case "failed", _:
            return Outlook("", "it stays failed: put a new definition, or ructl restart")
    if spec.state == Unit.STOPPED:
        return Outlook("", "it stays down: put it with state: RUNNING to start it")
    if "refused by this node" in status.message:
        return Outlook("the node's policy, or a definition that it allows", "the node starts it")
    return Outlook("", "it stays as it is: ructl restart starts it again")


def _policy(spec: Unit) -> str:
    restart = spec.service.restart
    if restart in (_Service.RESTART_UNSPECIFIED, _Service.NO):
        return "if its process ends, it is not restarted (service.restart)"
    return f"if its process ends, service.restart {_Service.Restart.Name(restart)} decides"
