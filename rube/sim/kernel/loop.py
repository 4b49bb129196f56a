"""SimLoop: an asyncio event loop whose time is a SimPy environment on integer nanoseconds."""

import asyncio
import random  # noqa: TID251 - only the type of a seeded generator
from asyncio import futures
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple, cast

from simpy import Environment, Event

from rube.sim.kernel.context import CURRENT
from rube.sim.kernel.errors import LivelockError, ProcessFenced, SimulationError
from rube.sim.kernel.handles import SimHandle, SimTimer
from rube.sim.kernel.hostclock import NS_PER_S, PPM, TRUE_NS_MAX, HostClock, seconds_to_ns
from rube.sim.kernel.process import DEAD, Death
from rube.sim.kernel.tasks import SimFuture, SimTask
from rube.sim.kernel.trace import PULSES_MAX, Trace
from rube.sim.kernel.unsupported import NoRealIO

if TYPE_CHECKING:
    from rube.sim.kernel.process import SimProcess

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

ROUNDS_AT_ONE_INSTANT_MAX = 100_000
"""So often may callbacks schedule callbacks before the kernel calls it a livelock."""

CANCELLED_TIMERS_MIN = 256
"""The queue is rid of cancelled timers when there are more than this and than half of it."""

NORMAL = 1
"""SimPy's ordinary event priority."""

_set_result_unless_cancelled = futures._set_result_unless_cancelled  # type: ignore[attr-defined]


class SimLoop(NoRealIO):
    """Runs tasks and callbacks of simulated processes in virtual time.

    Order: everything ready at an instant runs first, first in first out (or in a seeded order, `tie_break`), then
    the next SimPy event by (time, priority, sequence). `time`, `call_later` and `call_at` are in the clock of the
    host that the calling code runs on. Callbacks of a dead process are dropped, those of a paused one held.

    The loop is driven by its World through `drive`; it has no run_forever of its own.
    """

    def __init__(self, env: Environment, trace: Trace, *, executor_latency_ns: int = 50_000) -> None:
        self.env = env
        self.trace = trace
        self.root: SimProcess
        """The process of code that runs in none: the observer's, set by the World."""
        self.failures: list[Exception] = []
        """What `call_exception_handler` was told and no handler took; the World raises it."""
        self._queue = env._queue
        self._ready: deque[SimHandle | SimTimer] = deque()
        self._executor_latency_ns = executor_latency_ns
        self._numbers = 0
        self._tasks = 0
        self._cancelled_timers = 0
        self._tie_break: random.Random | None = None
        self._trace_steps = False
        self._running = False
        self._closed = False
        self._stop_requested = False
        self._exception_handler: ExceptionHandler | None = None
        self._graveyard: list[SimTask] = []

    def configure(self, root: "SimProcess", *, tie_break: random.Random | None, trace_steps: bool) -> None:
        """Finish construction; for the World, whose root process needs the loop first."""
        self.root = root
        self._tie_break = tie_break
        self._trace_steps = trace_steps

    # Time and timers

    @property
    def now_ns(self) -> int:
        """True virtual time in nanoseconds since the start of the world."""
        return cast(int, self.env._now)

    def time(self) -> float:
        """Return the monotonic clock of the calling code's host in seconds."""
        return CURRENT.get(self.root).clock.monotonic_ns(cast(int, self.env._now)) / NS_PER_S

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimTimer:
        """Run `callback` once `delay` seconds have passed on the calling code's host."""
        process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        delay_ns = delay * NS_PER_S if type(delay) is int else seconds_to_ns(delay)
        clock = process.clock
        now: int = self.env._now  # type: ignore[assignment]  # ours is an int
        elapsed = now - clock.true_base
        deadline = clock.mono_base + elapsed * clock.rate // PPM + delay_ns
        if context is None and callback is not _set_result_unless_cancelled:
            context = copy_context()
        timer = SimTimer(process, deadline, callback, args, context)
        due = clock.true_base - (clock.mono_base - deadline) * PPM // clock.rate
        heappush(self._queue, (due if due > now else now, NORMAL, next(self.env._eid), timer))  # type: ignore[misc]
        return timer

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimTimer:
        """Run `callback` at the first instant at which `time()` reads `when` or more."""
        process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        timer = SimTimer(process, seconds_to_ns(when), callback, args, context or copy_context())
        self._push(timer)
        return timer

    def after_ns(self, delay_ns: int, callback: Callable[..., object], *args: Any) -> SimTimer:
        """Run `callback` as the kernel, in no process, after `delay_ns` of true time: what a network is made of."""
        timer = SimTimer(self.root, self.now_ns + delay_ns, callback, args, None)
        heappush(self._queue, (self.now_ns + delay_ns, NORMAL, next(self.env._eid), timer))  # type: ignore[misc]
        return timer

    def clock_changed(self, clock: HostClock) -> None:
        """Move the timers that were set on `clock`, whose rate or reading has changed, to their new instants."""
        now = self.now_ns
        for place, (_, priority, sequence, event) in enumerate(self._queue):
            if isinstance(event, SimTimer) and event.process.clock is clock:
                due = max(now, min(clock.true_ns(event.deadline_ns), TRUE_NS_MAX))
                self._queue[place] = (due, priority, sequence, event)
        heapify(self._queue)

    def timer_cancelled(self) -> None:
        """Count a cancelled timer, and sweep the queue when they are most of it. The order of the rest stays."""
        self._cancelled_timers += 1
        if self._cancelled_timers > CANCELLED_TIMERS_MIN and self._cancelled_timers * 2 > len(self._queue):
            self._queue[:] = [e for e in self._queue if not (isinstance(e[3], SimTimer) and e[3]._cancelled)]
            heapify(self._queue)
            self._cancelled_timers = 0

    def _push(self, timer: SimTimer) -> None:
        now = self.now_ns
        due = max(now, min(timer.process.clock.true_ns(timer.deadline_ns), TRUE_NS_MAX))
        heappush(self._queue, (due, NORMAL, next(self.env._eid), timer))  # type: ignore[misc]

    # Callbacks, futures, tasks

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> SimHandle:
        """Run `callback` at this instant, after what is ready already."""
        handle = SimHandle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimHandle:
        """As `call_soon`: a world has one thread."""
        return self.call_soon(callback, *args, context=context)

    def create_future(self) -> SimFuture:
        """Return a pending future of this loop."""
        return SimFuture(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task in the process of `context`, or of the calling code."""
        task = SimTask.__new__(SimTask)
        task.process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        task.number = self.next_number()
        self._tasks += 1
        label = f"task-{self._tasks}" if name is None else str(name)
        SimTask.__init__(task, coro, loop=self, name=label, context=context)
        if task.process.gate == DEAD:
            self.keep_dead([task])
        return task

    def keep_dead(self, tasks: list[SimTask]) -> None:
        """Keep tasks of a dead process as they stand: freeing a suspended coroutine would run its `finally`."""
        for task in tasks:
            task.silence()
        self._graveyard.extend(tasks)

    def next_number(self) -> int:
        """Return the next number for a task or future."""
        self._numbers += 1
        return self._numbers

    def tasks_of(self, process: "SimProcess") -> list[SimTask]:
        """Return the unfinished tasks of `process` in the order of their creation."""
        mine = [t for t in asyncio.all_tasks(self) if isinstance(t, SimTask) and t.process is process]
        return sorted(mine, key=lambda task: task.number)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Call `func` now, in this thread; the future is done after the modelled latency."""
        future = self.create_future()
        deliver: Callable[[object], None]
        outcome: object
        try:
            outcome, deliver = func(*args), future.set_result
        except Exception as error:
            outcome, deliver = error, cast(Callable[[object], None], future.set_exception)
        self.call_later(self._executor_latency_ns / NS_PER_S, _deliver, future, deliver, outcome)
        return future

    def set_default_executor(self, executor: object) -> None:
        """Do nothing: functions run inline."""

    async def shutdown_default_executor(self) -> None:
        """Do nothing: there is none."""

    async def shutdown_asyncgens(self) -> None:
        """Do nothing: generators end with their process."""

    # Running

    def drive(self, until_ns: int, finished: Callable[[], bool] | None = None) -> bool:
        """Run everything due up to the true instant `until_ns`; return whether `finished()` or `stop()` ended it.

        Time stays at the last event; the caller moves it on. Raises LivelockError, and whatever a kernel event
        (one in no process) raises.
        """
        env, queue, ready = self.env, self._queue, self._ready
        pulses, tie_break, housekeep = self.trace.pulses, self._tie_break, self._housekeep
        self._stop_requested = False
        while True:
            if ready and (tie_break is None or not queue or queue[0][0] > env._now):
                self._drain() if tie_break is None else self._drain_shuffled(tie_break)
            if self._stop_requested or (finished is not None and finished()):
                return True
            if not queue or queue[0][0] > until_ns:
                return False
            now, _, _, event = heappop(queue)
            if type(event) is not SimTimer:
                env._now = now
                _step_foreign(event)
                continue
            if event._cancelled:
                self._cancelled_timers -= 1
                continue
            env._now = now
            process = event.process
            pulses.append(now)  # type: ignore[arg-type]  # SimPy's times may be floats; ours are not
            pulses.append(process.index)
            if len(pulses) >= PULSES_MAX:
                housekeep()
            event.fired = True
            if event._context is None and not process.gate:
                event._callback(*event._args)  # type: ignore[misc]  # None only if cancelled
            else:
                self.fire(event)

    def fire(self, timer: SimTimer) -> None:
        """Make a timer that is due ready to run in its process."""
        timer.fired = True
        if timer._context is None:
            timer._context = timer.process.context
        self._ready.append(timer)

    def resume_held(self, held: list[SimHandle | SimTimer]) -> None:
        """Make ready again what a pause has held back, in its order."""
        self._ready.extend(held)

    def stop(self) -> None:
        """Make `drive` return after the callbacks of this round."""
        self._stop_requested = True

    def is_running(self) -> bool:
        """Return whether simulated code is running now."""
        return self._running

    def is_closed(self) -> bool:
        """Return whether the world was closed."""
        return self._closed

    def close(self) -> None:
        """End the root process, close every suspended coroutine as dead code, forget what waits. For the World."""
        self.keep_dead(self.root.fence(Death.EXIT))
        for task in self._graveyard:  # grows while a `finally` starts tasks
            task.process.context.copy().run(_close_coroutine, task)
        self._graveyard.clear()
        self._closed = True
        self._ready.clear()
        self._queue.clear()

    def _drain(self) -> None:
        ready, run = self._ready, self._run
        rounds = 0
        while ready:
            rounds += 1
            if rounds > ROUNDS_AT_ONE_INSTANT_MAX:
                raise LivelockError(self._livelock_text())
            for _ in range(len(ready)):
                run(ready.popleft())
            if self._stop_requested:
                return

    def _run(self, handle: SimHandle | SimTimer) -> None:
        """Run one callback in its process, unless that is dead or paused."""
        if handle._cancelled:
            return
        context: Context = handle._context  # type: ignore[assignment]  # `fire` has set it
        process = context.get(CURRENT, self.root)
        if process.gate:
            process.hold(handle)
            return
        if self._trace_steps:
            self.trace.pulses.append(process.index)
        try:
            context.run(handle._callback, *handle._args)  # type: ignore[arg-type]
        except BaseException as error:
            self._unhandled(process, error)

    def _drain_shuffled(self, rng: random.Random) -> None:
        """As `_drain`, but a seeded generator chooses among what is ready at this instant.

        Only steps of tasks change places. Plain callbacks of one process keep their order among themselves,
        which asyncio promises and its own queues and locks rely on.
        """
        ready = self._ready
        steps = 0
        while ready and not self._stop_requested:
            steps += 1
            if steps > ROUNDS_AT_ONE_INSTANT_MAX:
                raise LivelockError(self._livelock_text())
            place = self._choose(rng.randrange(len(ready)))
            handle = ready[place]
            del ready[place]
            self._run(handle)

    def _choose(self, place: int) -> int:
        """Return `place` if a task's step stands there, else the place of its process's first plain callback."""
        chosen = self._ready[place]
        if _is_step(chosen):
            return place
        process = self._process_of(chosen)
        for earlier in range(place):
            handle = self._ready[earlier]
            if not _is_step(handle) and self._process_of(handle) is process:
                return earlier
        return place

    def _process_of(self, handle: SimHandle | SimTimer) -> "SimProcess":
        return self.root if handle._context is None else handle._context.get(CURRENT, self.root)

    def _housekeep(self) -> None:
        self.trace.fold()

    def _livelock_text(self) -> str:
        process = self._process_of(self._ready[0])
        return (
            f"virtual time stands still at {self.now_ns} ns: {ROUNDS_AT_ONE_INSTANT_MAX} rounds of callbacks "
            f"without a timer, now in {process}: a loop there awaits nothing that takes time"
        )

    # Errors

    def _unhandled(self, process: "SimProcess", error: BaseException) -> None:
        if isinstance(error, ProcessFenced):
            return
        if isinstance(error, SystemExit) and process is not self.root:
            process.exited(error.code)
        elif isinstance(error, Exception):
            self.call_exception_handler({"message": f"exception in a callback of {process}", "exception": error})
        else:
            raise error

    def get_exception_handler(self) -> ExceptionHandler | None:
        """Return the handler that was set, if any."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Let `handler` take what no code handled, instead of the World raising it."""
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Take an exception that no code handled; asyncio calls this too, from destructors."""
        owner = context.get("task") or context.get("future")
        dead = isinstance(owner, SimTask) and owner.process.death is not None
        if dead or isinstance(context.get("exception"), ProcessFenced):
            return
        if self._exception_handler is None:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep the exception for the World, which raises it when the run ends."""
        error = context.get("exception")
        if not isinstance(error, Exception):
            owner = context.get("task") or context.get("future")
            error = SimulationError(f"{context.get('message')}{'' if owner is None else f' {owner!r}'}")
        self.failures.append(error)

    # Settings asyncio asks for

    def get_debug(self) -> bool:
        """Return False: the trace and the checkers are the debug mode of a world."""
        return False

    def set_debug(self, enabled: bool) -> None:
        """Do nothing."""

    def get_task_factory(self) -> None:
        """Return None: tasks are SimTasks."""

    def set_task_factory(self, factory: object) -> None:
        """Raise SimulationError unless `factory` is None: tasks must be SimTasks to be deterministic."""
        if factory is not None:
            raise SimulationError("a world makes its own tasks: a task factory cannot be set")


def _close_coroutine(task: SimTask) -> None:
    try:
        task.get_coro().close()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise


def _deliver(future: SimFuture, deliver: Callable[[object], None], outcome: object) -> None:
    if not future.done():
        deliver(outcome)


def _is_step(handle: SimHandle | SimTimer) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def _step_foreign(event: Event) -> None:
    """Process an event that is SimPy's own, as `Environment.step` does."""
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]  # as SimPy does
    for callback in callbacks:
        callback(event)
    if not event._ok and not hasattr(event, "_defused"):
        raise event._value
