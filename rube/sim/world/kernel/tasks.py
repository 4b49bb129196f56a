"""Tasks and futures whose hash is a counter, so that sets of them have one order in every run.

The loop makes them: a future from `asyncio.Future()` or from `asyncio.gather` still hashes by its address, so put
neither into a set. `asyncio.all_tasks()` gives a set whose order also depends on earlier worlds: sort it by name.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol, cast

from simpy import Event

if TYPE_CHECKING:
    from simpy.events import EventCallbacks

    from rube.sim.world.kernel.process import SimProcess


class _Numbering(Protocol):
    """The part of the loop that futures use."""

    def next_number(self) -> int: ...


class SimFuture(asyncio.Future[Any], Event):
    """A future numbered when it is first hashed: most never are.

    It is a SimPy event too: the future that asyncio.sleep waits for stands in the environment's queue itself, as
    its own timer, with its process and its deadline on that process's clock.
    """

    __slots__ = ("_number", "deadline_ns", "process")

    _number: int
    _ok = True
    _value = None
    process: SimProcess
    deadline_ns: int

    @property
    def callbacks(self) -> EventCallbacks:
        """SimPy's callbacks: waking the sleeper is the only one."""
        return [self._wake_as_event]

    @callbacks.setter
    def callbacks(self, _: object) -> None:
        """SimPy marks an event as processed here; the future knows by itself."""

    def _wake_as_event(self, _: Event) -> None:
        if not self.done():
            self.set_result(None)

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = cast(_Numbering, self.get_loop()).next_number()
            return self._number


class SimTask(asyncio.Task[Any]):
    """A task numbered at its creation (asyncio's register of tasks hashes it) that knows its process."""

    __slots__ = ("number", "process")

    number: int
    process: SimProcess

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"<SimTask {self.get_name()} of {self.process}>"

    def silence(self) -> None:
        """Makes the destructor keep quiet: the task's process is dead, and so is the task."""
        self._log_destroy_pending = False
