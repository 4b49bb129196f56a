"""A second kind of thing that a node controls: lamps, which are objects of api.Node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import StringValue

from rube.api import Action, Decision, LogsRequest, LogsResponse, Node, NodeStatus, Object, State
from rube.api.errors import FailedPreconditionError
from rube.api.keys import ObjectKey
from rube.api.types import pack
from rube.controllers.config import NodeController
from rube.controllers.contract import Input
from rube.controllers.driver import Driver

LAMP_TYPE = "api.Node"


def lamp_key(name: str) -> ObjectKey:
    return ObjectKey(LAMP_TYPE, "", name)


def lamp(name: str, node: str) -> Object:
    obj = Object(spec=pack(Node()))
    obj.metadata.name, obj.metadata.labels["node"] = name, node
    return obj


def text(value: str) -> Any:
    return pack(StringValue(value=value))


def word(packed: Any) -> str:
    return StringValue.FromString(packed.value).value


class Lamps:
    """The lamps of one machine, which outlive its rubelet; each burns for the uid of the object that lit it."""

    def __init__(self) -> None:
        self.burning: dict[str, str] = {}
        self.stuck: set[str] = set()
        self.changed: list[asyncio.Queue[str]] = []

    def put_out(self, name: str) -> None:
        """Puts it out behind Rube's back."""
        del self.burning[name]
        for queue in self.changed:
            queue.put_nowait(name)


class LampDriver:
    """Actions are `name=uid`, and `name=` to put a lamp out."""

    def __init__(self, lamps: Lamps) -> None:
        self._lamps = lamps

    async def list(self) -> Sequence[str]:
        return sorted(self._lamps.burning)

    async def observe(self, name: str) -> Any:
        return text(self._lamps.burning.get(name, ""))

    async def apply(self, action: Action) -> bool:
        name, _, uid = word(action.action).partition("=")
        if name in self._lamps.stuck:
            raise FailedPreconditionError("the switch is stuck")
        if uid:
            self._lamps.burning[name] = uid
        else:
            self._lamps.burning.pop(name, None)
        return False

    async def changes(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        self._lamps.changed = [queue]  # an earlier incarnation's has no reader
        while True:
            yield await queue.get()

    async def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        response = LogsResponse()
        response.lines.add().text = f"{name} burns"
        yield response

    async def close(self) -> None: ...


class LampController:
    """Lights a lamp for each object, and says in its status that it burns."""

    name = "lamp"
    type = LAMP_TYPE
    selector = ""
    inputs: Sequence[Input] = ()

    def thing_of(self, key: ObjectKey) -> str:
        return key.name

    def key_of_thing(self, name: str) -> ObjectKey | None:
        return lamp_key(name)

    def decide(self, state: State) -> Decision:
        name, burns_for = state.key.name, word(state.observed)
        decision = Decision()
        if not state.HasField("object"):
            if burns_for:
                decision.actions.add().action.CopyFrom(text(f"{name}="))
            return decision
        metadata = state.object.metadata
        decision.memory.CopyFrom(text(f"asked for {metadata.uid}"))
        if burns_for != metadata.uid:
            decision.actions.add().action.CopyFrom(text(f"{name}={metadata.uid}"))
            if not state.action_error:
                return decision
        status = NodeStatus(driver=state.action_error or "burns", observed_generation=metadata.generation)
        if pack(status) != state.object.status:
            call = decision.calls.add().update_status
            call.key.CopyFrom(state.key)
            call.uid = metadata.uid
            call.status.CopyFrom(pack(status))
        return decision


def lamp_node_controller(driver: Driver) -> NodeController:
    return NodeController(
        controller=LampController(),
        driver=driver,
        driver_name="lamps",
        removal=lambda name: StringValue(value=f"{name}="),
        unstored_status=lambda node, reason: NodeStatus(driver=f"{node}: {reason}"),
        problem=lambda decided: "" if decided.state.HasField("object") else decided.state.action_error,
    )
