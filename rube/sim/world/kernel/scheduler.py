"""Scheduler: what runs next. The ready callbacks, the SimPy queue, and the one loop that drains both."""

from __future__ import annotations

import random  # noqa: TID251 - only the type of a seeded generator
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop
from typing import TYPE_CHECKING, Any, cast

from simpy import Environment, Event

from rube.api.times import NS_PER_S
from rube.sim.world.kernel import collector
from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.errors import LivelockError, ProcessFenced
from rube.sim.world.kernel.handles import SimHandle, SimTimer
from rube.sim.world.kernel.tasks import SimFuture, SimTask
from rube.sim.world.kernel.trace import Trace

if TYPE_CHECKING:
    from rube.sim.world.kernel.process import SimProcess

CALLBACKS_AT_ONE_INSTANT_MAX = 2_000_000
"""So many callbacks may run without time passing before the kernel calls it a livelock."""

EVENTS_PER_HOUSEKEEPING = 4096
"""After so many timers the trace is folded, the queue swept, and the instant checked for a livelock."""

EVENTS_AT_ONE_INSTANT_MAX = 500_000
"""So many timers at one instant are a livelock too."""

EVENTS_PER_SECOND_MAX = 10_000_000
"""So many timers within a second of virtual time are a livelock too: time passes, but by nanoseconds."""


SWEEP_TIMERS_MIN = 4096
"""The queue is rid of cancelled timers whenever it has doubled and holds more than this."""

Runnable = SimHandle | SimTimer


class Scheduler:
    """Runs the ready callbacks of an instant, then the next event of the SimPy environment, and so on.

    Ready callbacks run first in, first out, or in an order that a seeded generator draws; events by time, priority and
    sequence. Callbacks of a dead process are dropped, those of a paused one held.
    """

    root: SimProcess
    """The process of code that runs in none: the observer's, set by the World."""

    def __init__(self, env: Environment, trace: Trace) -> None:
        self.env = env
        self.trace = trace
        self.tie_break: random.Random | None = None
        """Draws the order of what is ready at one instant; None: in the order it became ready."""
        self.trace_steps = False
        """True if every callback is folded into the trace, not only timers."""
        self._queue: list[Any] = env._queue  # entries of SimPy's: time, priority, sequence, event
        self._sequence = env._eid
        self._ready: deque[Runnable] = deque()
        self._sweep_at = SWEEP_TIMERS_MIN
        self._housekeepings = 0
        self._housekept_ns = -1
        self._housekept_at_instant = 0
        self._second = 0
        self._housekept_in_second = 0

    @property
    def now_ns(self) -> int:
        """True virtual time in nanoseconds since the start of the world."""
        return self.env._now  # type: ignore[return-value]  # SimPy's type is int | float; ours is an int

    def drive(self, until_ns: int, finished: Callable[[], bool] | None = None) -> bool:
        """Runs everything due up to the true instant `until_ns`; returns whether `finished()` ended it.

        Time stays at the last event; the caller moves it on. Raises LivelockError, and whatever a kernel event
        (one in no process) raises. One function on purpose: every call less is felt in every step.
        """
        env, queue, ready, pulses = self.env, self._queue, self._ready, self.trace.pulses
        take = ready.popleft if self.tie_break is None else self._draw
        root, trace_steps = self.root, self.trace_steps
        until_housekeeping = EVENTS_PER_HOUSEKEEPING
        while True:
            callbacks = 0
            while ready:
                handle = take()
                callback, context = handle._callback, handle._context
                if callback is None or context is None:
                    continue  # cancelled
                process = context.get(CURRENT, root)
                if process.gate:
                    process.hold(handle)
                    continue
                if trace_steps:
                    pulses.append(process.index)
                try:
                    context.run(callback, *handle._args)
                except BaseException as error:
                    self._unhandled(process, error)
                callbacks += 1
                if callbacks > CALLBACKS_AT_ONE_INSTANT_MAX:
                    raise self._livelock(process)
            if finished is not None and finished():
                return True
            if not queue or queue[0][0] > until_ns:
                return False
            now, _, sequence, event = heappop(queue)
            if type(event) is SimTimer:
                timed = event._callback
                if timed is None:
                    continue
                env._now = now
                if event._context is None:
                    timed(*event._args)
                else:
                    ready.append(event)
            elif type(event) is SimFuture:
                if event.done():
                    continue
                env._now = now
                event.set_result(None)  # its waiter is woken in its own process, or held, or dropped
            else:
                env._now = now
                self._dispatch(event)
            pulses.append(now)
            pulses.append(sequence)
            until_housekeeping -= 1
            if not until_housekeeping:
                until_housekeeping = EVENTS_PER_HOUSEKEEPING
                self._housekeep()

    def fire(self, timer: SimTimer) -> None:
        """Makes a timer that is due ready to run in its process; runs the kernel's own at once."""
        if timer._context is None:
            timer._callback(*timer._args)  # type: ignore[misc]  # None only if cancelled
        else:
            self._ready.append(timer)

    def resume_held(self, held: list[Runnable]) -> None:
        """Makes the callbacks that a pause has held back ready again, in their order."""
        self._ready.extend(held)

    def _draw(self) -> Runnable:
        """Takes the seed's choice among the ready callbacks, once every event of this instant has happened.

        Only steps of tasks change places. Plain callbacks of one process keep their order among themselves, which
        asyncio promises and its own queues and locks rely on; so do events, such as a network's deliveries.
        """
        while self._queue and self._queue[0][0] <= self.env._now:
            now, _, sequence, event = heappop(self._queue)
            if not _is_over(event):
                self._dispatch(event)
                self.trace.pulses += (now, sequence)
        place = self._choose(cast(random.Random, self.tie_break).randrange(len(self._ready)))
        handle = self._ready[place]
        del self._ready[place]
        return handle

    def _choose(self, place: int) -> int:
        """Returns `place` if a task's step is there, else the place of its process's first plain callback."""
        chosen = self._ready[place]
        if _is_step(chosen):
            return place
        process = self._process_of(chosen)
        for earlier in range(place):
            handle = self._ready[earlier]
            if not _is_step(handle) and self._process_of(handle) is process:
                return earlier
        return place

    def _process_of(self, handle: Runnable) -> SimProcess:
        return self.root if handle._context is None else handle._context.get(CURRENT, self.root)

    def _dispatch(self, event: Event) -> None:
        """Process an event of any kind, as `Environment.step` does for SimPy's own."""
        if isinstance(event, SimTimer):
            self.fire(event)
        elif isinstance(event, SimFuture):
            event.set_result(None)
        else:
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]  # as SimPy does
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value

    def _housekeep(self) -> None:
        """Folds the trace, sweeps the queue if it has doubled, and checks whether time stands still."""
        self.trace.fold()
        self._housekeepings += 1
        if self._housekeepings % collector.HOUSEKEEPINGS_PER_COLLECTION == 0:
            collector.collect()
        if len(self._queue) > self._sweep_at:
            self._queue[:] = [entry for entry in self._queue if not _is_over(entry[3])]
            heapify(self._queue)
            self._sweep_at = max(SWEEP_TIMERS_MIN, 2 * len(self._queue))
        self._housekept_at_instant += 1
        if self.now_ns != self._housekept_ns:
            self._housekept_ns, self._housekept_at_instant = self.now_ns, 0
        elif self._housekept_at_instant * EVENTS_PER_HOUSEKEEPING > EVENTS_AT_ONE_INSTANT_MAX:
            raise self._livelock(self.root)
        self._check_pace()

    def _check_pace(self) -> None:
        """Raises LivelockError where hardly any time passes."""
        second = self.now_ns // NS_PER_S
        if second != self._second:
            self._second, self._housekept_in_second = second, 0
        self._housekept_in_second += 1
        if self._housekept_in_second * EVENTS_PER_HOUSEKEEPING > EVENTS_PER_SECOND_MAX:
            busiest = self._process_of(self._ready[-1]) if self._ready else self.root
            raise LivelockError(
                f"{EVENTS_PER_SECOND_MAX} timers within the second of virtual time from {second}s on, now at "
                f"{self.now_ns} ns, last in {busiest}: something there waits for nanoseconds again and again"
            )

    def _livelock(self, process: SimProcess) -> LivelockError:
        return LivelockError(
            f"virtual time stands still at {self.now_ns} ns, last in {process}: callbacks there keep scheduling "
            "callbacks without delay; await something that takes time"
        )

    def _unhandled(self, process: SimProcess, error: BaseException) -> None:
        """Takes an exception of a callback of `process`: its end, its owner's failure, or the user's interrupt."""
        if isinstance(error, ProcessFenced):
            return
        if error.__traceback__ is not None:  # it begins with the kernel's own frame
            error.__traceback__ = error.__traceback__.tb_next
        if isinstance(error, SystemExit) and process is not self.root:
            process.exited(error.code)
        elif isinstance(error, Exception):
            self.call_exception_handler({"message": f"exception in a callback of {process}", "exception": error})
        else:
            raise error

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Takes an exception that no code handled; see SimLoop."""
        raise NotImplementedError


def _is_over(event: Event) -> bool:
    """Returns whether nothing would happen if the event were dropped."""
    if isinstance(event, SimTimer):
        return event._callback is None
    return isinstance(event, SimFuture) and event.done()


def _is_step(handle: Runnable) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), SimTask)
