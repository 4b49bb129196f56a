"""Cluster: a simulated cluster as a test function drives it. The world stands still between two calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from google.protobuf.message import Message

from rube.api import Metadata, Object
from rube.api.errors import DeadlineExceededError, UnavailableError
from rube.testing.calls import ObjectCalls, TypeName, named
from rube.testing.command import Ran, run_ructl
from rube.testing.faults import FaultMethods
from rube.testing.world import TestWorld

POLL_S = 0.25
STOP_AFTER_S = 60.0
_NOT_YET = (AssertionError, UnavailableError, DeadlineExceededError)
T = TypeVar("T")


class Cluster(FaultMethods):
    """A simulated cluster of the shipped daemons. Time passes only in `run_for`, `eventually`, and while a call waits
    for its answer."""

    def __init__(self, world: TestWorld) -> None:
        super().__init__(world)
        self._calls = ObjectCalls(world)
        world.world.run(self._calls.until_ready)

    # Time

    def run_for(self, seconds: float) -> None:
        """Lets so much virtual time pass."""
        self._test.world.run_for(seconds)

    def eventually(self, predicate: Callable[[], T], *, within: float = 30.0) -> T:
        """Lets time pass until `predicate()` is true, and returns its value. It is asked every 0.25 s; a failed
        assertion in it, and a server that does not answer, mean not yet.

        Raises AssertionError with the last value or failure if that is not so within `within` seconds.
        """
        end_ns = self._test.world.now_ns + round(within * 1e9)
        while True:
            try:
                last: object = (value := predicate())
                if value:
                    return value
            except _NOT_YET as error:
                last = error
            if self._test.world.now_ns >= end_ns:
                raise AssertionError(not_true(predicate, within, self.now_s, last)) from None
            self._test.world.run_for(POLL_S)

    # Objects

    def put(
        self,
        *specs: Message,
        name: str = "",
        namespace: str | None = None,
        node: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> Metadata:
        """Puts one object: a spec under this name, or a whole `Object`. Several whole objects are put at one revision.

        Returns the metadata of the last one.
        """
        objects = [self._calls.object_of(spec, name, namespace, node, (labels or {}).items()) for spec in specs]
        self._tell(f"put {named(objects)}")
        return self._test.world.run(self._calls.put, objects)[-1]

    def get(self, type: TypeName, name: str, namespace: str | None = None) -> Object | None:
        """Returns an object as it is now; None: there is none. `type` is a name, or the class of the spec."""
        return self._test.world.run(self._calls.get, type, name, namespace)

    def list(self, type: TypeName, namespace: str = "", labels: str = "") -> list[Object]:
        """Returns the objects of a type, in a namespace or in all, which match a label selector or not, by key."""
        return self._test.world.run(self._calls.list, type, namespace, labels)

    def delete(self, type: TypeName, name: str, namespace: str | None = None) -> None:
        """Deletes an object. Raises NotFoundError if there is none."""
        self._tell(f"delete {self._calls.kind(type).name} {name}")
        self._test.world.run(self._calls.delete, type, name, namespace)

    def spec(self, obj: Object | None) -> Message:
        """Returns the message in an object's spec."""
        return self._calls.spec(obj)

    def status(self, obj: Object | None) -> Message:
        """Returns the message in an object's status."""
        return self._calls.status(obj)

    def ructl(self, line: str, *, input: str = "", stop_after: float = STOP_AFTER_S) -> Ran:
        """Runs the real ructl against this cluster, as in `cluster.ructl("put -", input=text)`.

        A command that follows (`watch`, `logs -f`) is stopped after `stop_after` s of virtual time, as by Ctrl-C.
        """
        return run_ructl(self._test, line, input, stop_after)

    def _tell(self, what: str) -> None:
        self._test.diary.tell(self._test.world.now_ns, what)


def not_true(predicate: Callable[[], object], within: float, now_s: float, last: object) -> str:
    """Returns the words of an `eventually` that was in vain."""
    name = getattr(predicate, "__qualname__", type(predicate).__name__)
    seen = f"{type(last).__name__}: {last}" if isinstance(last, Exception) else repr(last)
    return f"not true within {within:g} s, at {now_s:.3f}s of virtual time: {name}; the last time it gave {seen}"
