"""A runtime on fakes, in a simulated world so that time costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any as Anything

from google.protobuf.any_pb2 import Any
from google.protobuf.wrappers_pb2 import StringValue

from rube.api import Action, Decision, State
from rube.api.errors import RubeError
from rube.api.keys import ObjectKey
from rube.controllers.backoff import BackoffConfig
from rube.controllers.config import Decided, NodeController, RuntimeConfig
from rube.controllers.contract import Input
from rube.controllers.runtime import Runtime
from rube.host import Engine
from rube.sim.cluster.machines import make_machine
from rube.sim.world.kernel import SimProcess, World
from rube.sim.world.network import SimFabric
from tests.unit.controllers.cluster_fake import UNIT, FakeCluster, text_any, word

Decide = Callable[[State], Decision]


class Words:
    """A controller of any decide; things are named after their objects."""

    name = "words"
    type = UNIT
    selector = ""

    def __init__(self, decide: Decide, inputs: Sequence[Input]) -> None:
        self.decide = decide
        self.inputs = inputs

    def thing_of(self, key: ObjectKey) -> str:
        return key.name

    def key_of_thing(self, name: str) -> ObjectKey | None:
        return ObjectKey(UNIT, "default", name)


class FakeDriver:
    """Things are words; an action is `name=word` or `name=` to remove, and is carried out once per id."""

    def __init__(self) -> None:
        self.things: dict[str, str] = {}
        self.applied: list[str] = []
        self.errors: list[RubeError] = []
        self.blind: RubeError | None = None
        self.slow: set[str] = set()
        """Things whose actions hang."""
        self.stopping: set[str] = set()
        """Things whose removal is under way until they are taken out of here."""
        self.tries: list[str] = []
        self.wakes_itself = False
        """Every attempt changes the thing, which is an event."""
        self._ids: set[str] = set()
        self._changed: asyncio.Queue[str] = asyncio.Queue()

    async def list(self) -> Sequence[str]:
        return sorted(self.things)

    async def observe(self, name: str) -> Any:
        if self.blind is not None:
            raise self.blind
        return text_any(self.things.get(name, ""))

    async def apply(self, action: Action) -> bool:
        name, _, value = word(action.action).partition("=")
        self.tries.append(word(action.action))
        if self.errors:
            if self.wakes_itself:
                self._changed.put_nowait(name)
            raise self.errors.pop(0)
        if name in self.slow:
            await asyncio.Event().wait()
        if action.id in self._ids:
            return False
        if name in self.stopping and not value:
            return True
        self._ids.add(action.id)
        self.applied.append(word(action.action))
        if value:
            self.things[name] = value
        else:
            self.things.pop(name, None)
        if self.wakes_itself:
            self._changed.put_nowait(name)
        return False

    async def changes(self) -> AsyncIterator[str]:
        while True:
            yield await self._changed.get()

    async def close(self) -> None: ...

    def change(self, name: str, value: str) -> None:
        self.things[name] = value
        self._changed.put_nowait(name)


class Bench:
    """One machine with a disk, on which a runtime is started and killed; the cluster and the things stay."""

    def __init__(self, world: World, decide: Decide, *, driven: bool = False, strict: bool = True) -> None:
        self.world = world
        self.machine = make_machine(world, SimFabric(world), world.host("worker-1"))
        self.cluster = FakeCluster()
        self.driver = FakeDriver()
        self.decided: list[Decided] = []
        self.runtime: Runtime | None = None
        self._decide = decide
        self._driven = driven
        self._strict = strict
        self.inputs: Sequence[Input] = ()
        self.wrap_engine: Callable[[Engine], Engine] = lambda engine: engine
        self.wrap_driver: Callable[[FakeDriver], Anything] = lambda driver: driver
        self.wrap_calls: Callable[[FakeCluster], Anything] = lambda cluster: cluster
        self.may_act: Callable[[], bool] = lambda: True

    def start(self, *, crash_is_failure: bool = True) -> SimProcess:
        return self.machine.host.spawn("runtime", self._main, crash_is_failure=crash_is_failure)

    async def _main(self) -> None:
        host = self.machine.ports
        engine = self.wrap_engine(await host.storage.open("sqlite:///local.db"))
        controller = Words(self._decide, self.inputs)
        node_controller = NodeController(
            controller=controller,
            driver=self.wrap_driver(self.driver),
            driver_name="fake",
            removal=lambda name: StringValue(value=f"{name}="),
            unstored_status=lambda node, reason: StringValue(value=reason),
        )
        self.runtime = Runtime(
            RuntimeConfig(
                host=host,
                controller=node_controller if self._driven else controller,
                cache=self.cluster.cache,
                calls=self.wrap_calls(self.cluster),
                engine=engine,
                may_act=lambda: self.may_act(),
                observer=self.decided.append,
                strict=self._strict,
                backoff=BackoffConfig(delay_s_min=0.1, delay_s_max=5.0),
            )
        )
        await self.runtime.run()

    def run_for(self, seconds: float) -> None:
        self.world.run_for(seconds)
