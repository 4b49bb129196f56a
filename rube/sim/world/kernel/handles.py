"""The waiting callbacks: those ready now, and timers, which are SimPy events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

from simpy import Event

from rube.api.times import NS_PER_S

if TYPE_CHECKING:
    from simpy.events import EventCallbacks

    from rube.sim.world.kernel.process import SimProcess


class SimHandle:
    """A callback that is ready: what users see of asyncio.Handle. There is one per step, so it is small."""

    __slots__ = ("_args", "_callback", "_context")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        self._callback: Callable[..., object] | None = callback
        self._args = args
        self._context: Context | None = context

    def __repr__(self) -> str:
        return f"<SimHandle{' cancelled' if self._callback is None else ''}>"

    def cancel(self) -> None:
        """Makes the callback never run."""
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """Returns whether the handle was cancelled."""
        return self._callback is None


class SimTimer(Event, asyncio.TimerHandle):
    """A callback with a deadline on its process's clock: asyncio's timer handle and SimPy's event in one object.

    It stands in the environment's queue like any other event; `Environment.step` can fire it too. `_context` is
    None for the kernel's own (`SimLoop.after_ns`): they run in no process.
    """

    __slots__ = ("deadline_ns", "process")

    _callback: Callable[..., object] | None
    _args: tuple[Any, ...]
    _context: Context | None
    _loop: asyncio.AbstractEventLoop
    _ok = True
    _value = None
    process: SimProcess
    deadline_ns: int

    def __init__(
        self,
        process: SimProcess,
        deadline_ns: int,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context | None,
    ) -> None:
        self.process = process
        self.deadline_ns = deadline_ns
        self._callback = callback
        self._args = args
        self._context = context

    @property
    def callbacks(self) -> EventCallbacks:
        """SimPy's callbacks: firing this timer is the only one."""
        return [self._fire_as_event]

    @callbacks.setter
    def callbacks(self, _: object) -> None:
        """SimPy marks an event as processed here; the timer knows by itself."""

    def __repr__(self) -> str:
        return f"<SimTimer {self.process} at {self.deadline_ns} ns{' cancelled' if self._callback is None else ''}>"

    def __hash__(self) -> int:
        return hash(self.deadline_ns)

    def when(self) -> float:
        """Returns the deadline in seconds of the loop's time in the process that set the timer."""
        return self.deadline_ns / NS_PER_S

    def cancel(self) -> None:
        """Makes the callback never run; nothing happens if it already has."""
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        """Returns whether the timer was cancelled before or after it fired, as asyncio does."""
        return self._callback is None

    def _fire_as_event(self, _: Event) -> None:
        self.process.loop.fire(self)
