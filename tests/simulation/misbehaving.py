"""Controllers that never come to rest."""

from __future__ import annotations

from collections.abc import Sequence

from rube.api import Decision, Metadata, Object, State, Unit
from rube.api.types import pack
from rube.controllers.contract import Input


class _OfNodes:
    """Decides about each node."""

    name = "restless"
    type = "api.Node"
    selector = ""
    inputs: Sequence[Input] = ()

    def decide(self, state: State) -> Decision:
        decision = Decision()
        if state.HasField("object"):
            self.act(state, decision)
        return decision

    def act(self, state: State, decision: Decision) -> None:
        raise NotImplementedError


class Refused(_OfNodes):
    """Puts what no server takes."""

    def act(self, state: State, decision: Decision) -> None:
        decision.calls.add().put.objects.append(_unit("no name/at all", "refused"))


class Restless(_OfNodes):
    """Puts something new each second."""

    def act(self, state: State, decision: Decision) -> None:
        now_ns = state.now.ToNanoseconds()
        decision.calls.add().put.objects.append(_unit(state.key.name, f"at {now_ns // 10**9}"))
        decision.wake_after.FromNanoseconds(10**9)


class Repeating(_OfNodes):
    """Puts the same again each two seconds, which changes nothing."""

    def act(self, state: State, decision: Decision) -> None:
        decision.calls.add().put.objects.append(_unit(state.key.name, "the same"))
        decision.wake_after.FromNanoseconds(2 * 10**9)


class Frantic(_OfNodes):
    """Changes the very object that it decides about, whenever that has changed."""

    def act(self, state: State, decision: Decision) -> None:
        node = Object()
        node.CopyFrom(state.object)
        node.metadata.annotations["seen"] = str(state.object.metadata.revision)
        node.ClearField("status")
        decision.calls.add().put.objects.append(node)


class Awake(_OfNodes):
    """Wants to be asked again after a nanosecond."""

    def act(self, state: State, decision: Decision) -> None:
        decision.wake_after.FromNanoseconds(1)


def _unit(name: str, text: str) -> Object:
    unit = Unit(description=text, state=Unit.STOPPED)
    unit.service.exec.start.append("/usr/bin/sleep infinity")
    return Object(metadata=Metadata(namespace="restless", name=name), spec=pack(unit))
