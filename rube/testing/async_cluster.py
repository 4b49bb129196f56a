"""AsyncCluster: a simulated cluster as a coroutine function drives it, inside of the world: asyncio works on virtual
time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from rube.api import Metadata, Object
from rube.api.errors import DeadlineExceededError, UnavailableError
from rube.testing.calls import ObjectCalls, TypeName, named
from rube.testing.cluster import POLL_S, STOP_AFTER_S, not_true
from rube.testing.command import Ran, run_ructl
from rube.testing.faults import FaultMethods
from rube.testing.world import TestWorld

TEST_S_MAX = 30 * 24 * 3600.0
_NOT_YET = (AssertionError, UnavailableError, DeadlineExceededError)
T = TypeVar("T")


class AsyncCluster(FaultMethods):
    """The face of a cluster with coroutines in place of the calls that take time. Time passes while the test awaits."""

    def __init__(self, world: TestWorld) -> None:
        super().__init__(world)
        self._calls = ObjectCalls(world)
        world.world.run(self._calls.until_ready)
        self._outside: list[Callable[[], None]] = []

    def run_test(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs a test to its end. The plugin calls it."""
        world = self._test.world
        tasks: list[asyncio.Task[None]] = []

        async def begin() -> None:
            tasks.append(asyncio.create_task(main(), name="test"))

        world.run(begin)
        (task,) = tasks
        while not task.done():
            world.run_until(lambda: task.done() or bool(self._outside), timeout_s=TEST_S_MAX)
            while self._outside:
                self._outside.pop(0)()
        task.result()

    async def run_for(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def eventually(self, predicate: Callable[[], T | Awaitable[T]], *, within: float = 30.0) -> T:
        """Does what `Cluster.eventually` does; `predicate` may return an awaitable."""
        end_ns = self._test.world.now_ns + round(within * 1e9)
        while True:
            try:
                value = predicate()
                last: object = (found := cast(T, await value if inspect.isawaitable(value) else value))
                if found:
                    return found
            except _NOT_YET as error:
                last = error
            if self._test.world.now_ns >= end_ns:
                raise AssertionError(not_true(predicate, within, self.now_s, last)) from None
            await asyncio.sleep(POLL_S)

    async def put(
        self,
        *specs: Message,
        name: str = "",
        namespace: str | None = None,
        node: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Metadata:
        objects = [self._calls.object_of(spec, name, namespace, node, (labels or {}).items()) for spec in specs]
        self._tell(f"put {named(objects)}")
        return (await self._calls.put(objects))[-1]

    async def get(self, type: TypeName, name: str, namespace: str | None = None) -> Object | None:
        return await self._calls.get(type, name, namespace)

    async def list(self, type: TypeName, namespace: str = "", labels: str = "") -> list[Object]:
        return await self._calls.list(type, namespace, labels)

    async def delete(self, type: TypeName, name: str, namespace: str | None = None) -> None:
        self._tell(f"delete {self._calls.kind(type).name} {name}")
        await self._calls.delete(type, name, namespace)

    def spec(self, obj: Object | None) -> Message:
        return self._calls.spec(obj)

    def status(self, obj: Object | None) -> Message:
        return self._calls.status(obj)

    async def ructl(self, line: str, *, input: str = "", stop_after: float = STOP_AFTER_S) -> Ran:
        """Does what `Cluster.ructl` does. The command is code without awaits: it runs outside of the world, which goes
        on while it waits for an answer."""
        ran: asyncio.Future[Ran] = asyncio.get_running_loop().create_future()

        def run() -> None:
            try:
                ran.set_result(run_ructl(self._test, line, input, stop_after))
            except Exception as error:
                ran.set_exception(error)

        self._outside.append(run)
        return await ran

    def _tell(self, what: str) -> None:
        self._test.diary.tell(self._test.world.now_ns, what)
