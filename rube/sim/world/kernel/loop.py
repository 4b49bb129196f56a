"""SimLoop: an asyncio event loop whose time is a SimPy environment on integer nanoseconds."""

from __future__ import annotations

import asyncio
import logging
from asyncio import events, futures
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappush
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary, WeakSet

from simpy import Environment

from rube.api.times import NS_PER_S
from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.errors import ProcessFenced, SimulationError
from rube.sim.world.kernel.generators import AsyncGenerators
from rube.sim.world.kernel.handles import SimHandle, SimTimer
from rube.sim.world.kernel.hostclock import PPM, TRUE_NS_MAX, HostClock, seconds_to_ns
from rube.sim.world.kernel.process import DEAD, Death
from rube.sim.world.kernel.scheduler import Scheduler
from rube.sim.world.kernel.tasks import SimFuture, SimTask
from rube.sim.world.kernel.trace import Trace
from rube.sim.world.kernel.unsupported import NoRealIO

if TYPE_CHECKING:
    from rube.sim.world.kernel.process import SimProcess

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
ExceptionHandler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

NORMAL = 1
"""SimPy's ordinary event priority."""

_set_result_unless_cancelled = futures._set_result_unless_cancelled  # type: ignore[attr-defined]


class InlineCall:
    """A function that an executor was asked to run, while it runs."""

    __slots__ = ("gate", "spent_ns")

    def __init__(self) -> None:
        self.spent_ns = 0
        # The rest does not happen before this is done.
        self.gate: asyncio.Future[None] | None = None


@dataclass(slots=True, eq=False)
class _Work:
    """A function that an executor was asked to run."""

    future: asyncio.Future[Any]
    func: Callable[[], Any]
    # None: it waits for no other.
    workers: _Workers | None
    context: Context


class _Workers:
    """The threads of an executor, if it had any, and what waits for one of them."""

    __slots__ = ("free", "waiting")

    def __init__(self, count: int) -> None:
        self.free = count
        self.waiting: deque[_Work] = deque()


class SimLoop(Scheduler, NoRealIO):
    """asyncio's loop interface over the Scheduler. Tasks, futures, queues and timeouts of a world run on it.

    `time`, `call_later` and `call_at` are in the clock of the host that the calling code runs on, found through
    the context. The loop is driven by its World: `run_forever` and `run_until_complete` are refused.
    """

    def __init__(self, env: Environment, trace: Trace, *, executor_latency_ns: int = 50_000) -> None:
        super().__init__(env, trace)
        self.failures: list[Exception] = []
        """The errors that no code and no exception handler has handled; the World raises them."""
        self.create_future = partial(SimFuture, loop=self)  # type: ignore[method-assign]  # C: there is one per sleep
        self.generators = AsyncGenerators(self)
        self.inline_call: InlineCall | None = None
        self._executor_latency_ns = executor_latency_ns
        self._workers: WeakKeyDictionary[object, _Workers] = WeakKeyDictionary()
        self._numbers = 0
        self._tasks = 0
        self._closed = False
        self._exception_handler: ExceptionHandler | None = None
        self._graveyard: list[SimTask] = []
        self._started: WeakSet[SimTask] = WeakSet()
        """Every task that something still refers to: asyncio's own register differs from one Python to the next."""

    # Time and timers

    def time(self) -> float:
        """Returns the monotonic clock of the calling code's host in seconds."""
        return CURRENT.get(self.root).clock.monotonic_ns(self.now_ns) / NS_PER_S

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimTimer:
        """Runs `callback` once `delay` seconds have passed on the calling code's host, counted in nanoseconds.

        (The float `time() + delay` may round to a hair more than that: `call_at` takes such a float at its word.)
        For asyncio.sleep the handle is the sleeping future itself: its `cancel` does nothing once it is done.
        """
        process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        clock = process.clock
        now: Any = self.env._now  # SimPy's type is int | float; ours is an int
        ahead = (now - clock.true_base) * clock.rate // PPM
        ahead += delay * NS_PER_S if type(delay) is int else seconds_to_ns(delay)
        due = clock.true_base - (-ahead * PPM // clock.rate)  # HostClock.true_ns, written out for speed
        timer: Any
        if callback is _set_result_unless_cancelled and type(args[0]) is SimFuture and args[1] is None:  # type: ignore[misc]
            timer = args[0]  # type: ignore[misc]  # _set_result_unless_cancelled has two
            timer.process = process
            timer.deadline_ns = clock.mono_base + ahead
        else:
            context = copy_context() if context is None else context
            timer = SimTimer(process, clock.mono_base + ahead, callback, args, context)
        heappush(self._queue, (due if due > now else now, NORMAL, next(self._sequence), timer))
        return timer  # type: ignore[no-any-return]  # a future has the one method that asyncio.sleep calls

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimTimer:
        """Runs `callback` at the first instant at which `time()` reads `when` or more."""
        process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        timer = SimTimer(process, seconds_to_ns(when), callback, args, copy_context() if context is None else context)
        self._push(timer)
        return timer

    def after_ns(self, delay_ns: int, callback: Callable[..., object], *args: Any) -> SimTimer:
        """Runs `callback` as the kernel, in no process, after `delay_ns` of true time: a network consists of such
        calls."""
        due: Any = self.env._now + delay_ns
        timer = SimTimer(self.root, due, callback, args, None)
        heappush(self._queue, (due, NORMAL, next(self._sequence), timer))
        return timer

    def clock_changed(self, clock: HostClock) -> None:
        """Moves the timers that were set on `clock`, whose rate or reading has changed, to their new instants."""
        now = self.now_ns
        for place, (_, priority, sequence, event) in enumerate(self._queue):
            if isinstance(event, SimTimer | SimFuture) and event.process.clock is clock:
                due = max(now, min(clock.true_ns(event.deadline_ns), TRUE_NS_MAX))
                self._queue[place] = (due, priority, sequence, event)
        heapify(self._queue)

    def _push(self, timer: SimTimer) -> None:
        now = self.now_ns
        due = max(now, min(timer.process.clock.true_ns(timer.deadline_ns), TRUE_NS_MAX))
        heappush(self._queue, (due, NORMAL, next(self._sequence), timer))

    # Callbacks, futures, tasks

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Runs `callback` at this instant, after the callbacks that are ready already."""
        handle = SimHandle(callback, args, copy_context() if context is None else context)
        self._ready.append(handle)
        return handle  # type: ignore[return-value]  # has the public methods of one

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Does what `call_soon` does: a world has one thread."""
        return self.call_soon(callback, *args, context=context)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        eager_start: bool | None = None,
    ) -> asyncio.Task[T]:
        """Starts a task in the process of `context`, or of the calling code; it first runs after the ready
        callbacks."""
        if eager_start:
            raise SimulationError("create_task(eager_start=True) in a world: its tasks start in turn; leave it out")
        task = SimTask.__new__(SimTask)
        task.process = CURRENT.get(self.root) if context is None else context.get(CURRENT, self.root)
        task.number = self.next_number()
        self._tasks += 1
        label = f"task-{self._tasks}" if name is None else str(name)
        SimTask.__init__(task, coro, loop=self, name=label, context=context)
        self._started.add(task)
        if task.process.gate == DEAD:
            self.keep_dead([task])
        return task

    def keep_dead(self, tasks: list[SimTask]) -> None:
        """Keeps tasks of a dead process as they stand: freeing a suspended coroutine would run its `finally`."""
        for task in tasks:
            task.silence()
        self._graveyard.extend(tasks)

    def next_number(self) -> int:
        """Returns the next number for a task or future."""
        self._numbers += 1
        return self._numbers

    def tasks_of(self, processes: Collection[SimProcess]) -> list[SimTask]:
        """Returns the unfinished tasks of these processes in the order of their creation."""
        found = [task for task in self._started if task.process in processes and not task.done()]
        return sorted(found, key=lambda task: task.number)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Calls `func` in this thread, now, or once a worker of the executor is free; the future is done after the
        modelled latency and what `func` spends. The default executor has a worker for each call."""
        future = self.create_future()
        work = _Work(future, partial(func, *args), self._workers_of(executor), copy_context())
        if work.workers is None or work.workers.free:
            self._run_inline(work)
        else:
            work.workers.waiting.append(work)
        return future

    def _workers_of(self, executor: object) -> _Workers | None:
        count = getattr(executor, "_max_workers", None)  # of a ThreadPoolExecutor, whose threads are never started
        if count is None:
            return None
        workers = self._workers.get(executor)
        if workers is None:
            workers = self._workers[executor] = _Workers(count)
        return workers

    def _run_inline(self, work: _Work) -> None:
        if work.workers is not None:
            work.workers.free -= 1
        call = self.inline_call = InlineCall()
        try:
            result = work.func()
        except Exception as error:
            end = partial(_fail_unless_done, work.future, error)
        else:
            end = partial(_set_result_unless_cancelled, work.future, result)
        finally:
            self.inline_call = None
        took_s = (self._executor_latency_ns + call.spent_ns) / NS_PER_S
        if call.gate is None:
            self.call_later(took_s, self._end_inline, work.workers, end)
        else:
            call.gate.add_done_callback(lambda _: self.call_later(took_s, self._end_inline, work.workers, end))

    def _end_inline(self, workers: _Workers | None, end: Callable[[], None]) -> None:
        end()
        if workers is None:
            return
        workers.free += 1
        while workers.waiting and workers.free:
            work = workers.waiting.popleft()
            if not work.future.cancelled():
                work.context.run(self._run_inline, work)

    def spend(self, time_ns: int, gate: asyncio.Future[None] | None = None) -> None:
        """Lets the function that `run_in_executor` runs now take so much longer, and not end before `gate` is done.

        Elsewhere it does nothing: code between two awaits takes no time.
        """
        if self.inline_call is not None:
            self.inline_call.spent_ns += time_ns
            self.inline_call.gate = gate or self.inline_call.gate

    def when_spent(self, act: Callable[[], object]) -> None:
        """Calls `act` as the kernel, once the time has passed that the running function has spent by now: before the
        call is done, and also if its process has died. At once outside of such a function."""
        call, clock = self.inline_call, CURRENT.get(self.root).clock
        if call is None:
            act()
            return
        spent_ns = call.spent_ns

        def begin(_gate: asyncio.Future[None] | None = None) -> None:
            due_ns = clock.true_ns(clock.monotonic_ns(self.now_ns) + spent_ns)
            self.after_ns(max(0, due_ns - self.now_ns), act)

        if call.gate is None:
            begin()
        else:
            call.gate.add_done_callback(begin, context=Context())

    def set_default_executor(self, executor: object) -> None:
        """Does nothing: functions run inline."""

    async def shutdown_default_executor(self) -> None:
        """Does nothing: there is none."""

    async def shutdown_asyncgens(self) -> None:
        """Does nothing: generators end with their process."""

    # Running

    def run_forever(self) -> None:
        """Raises SimulationError: the World drives."""
        raise SimulationError("loop.run_forever() in a world: World.run_for and World.run_until let time pass")

    def run_until_complete(self, future: Any) -> NoReturn:
        """Raises SimulationError: simulated code awaits, and synchronous code has `World.run`."""
        raise SimulationError("loop.run_until_complete() in a world: await it, or call World.run from outside")

    def stop(self) -> None:
        """Raises SimulationError: code of one process cannot end the world."""
        raise SimulationError("loop.stop() in a world: end the process instead, by returning from its main")

    def is_running(self) -> bool:
        """Returns whether simulated code is running now."""
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        """Returns whether the world was closed."""
        return self._closed

    def close(self) -> None:
        """Raises SimulationError: only `World.close` ends a world."""
        raise SimulationError("loop.close() in a world: close the World instead")

    def end(self, processes: list[SimProcess]) -> None:
        """Ends these processes and the root, closes every suspended coroutine as dead code, and drops what waits.

        The World calls this once.
        """
        self.failures.extend(self._unretrieved())
        for process in (self.root, *processes):
            process.fence(Death.POWER_LOSS)
        self.keep_dead(self.tasks_of((self.root, *processes)))
        with _nothing_logged():
            for task in self._graveyard:  # grows while a `finally` starts tasks
                task.process.context.copy().run(_close_coroutine, task)
        self._graveyard.clear()
        self._closed = True
        self.generators.clear()
        self._ready.clear()
        self._queue.clear()

    def _unretrieved(self) -> list[Exception]:
        """Returns the exceptions of tasks that ended long ago, are still referred to, and were never asked."""
        unasked = [task for task in self._started if task.process.alive and task.done() and task._log_traceback]
        errors = [task.exception() for task in sorted(unasked, key=lambda task: task.number)]
        return [error for error in errors if isinstance(error, Exception)]

    # Errors

    def get_exception_handler(self) -> ExceptionHandler | None:
        """Returns the handler that was set, if any."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Lets `handler` take what no code handled, instead of the World raising it."""
        self._exception_handler = handler

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Takes an exception that no code handled; asyncio calls this too, from destructors."""
        owner = context.get("task") or context.get("future")
        dead = isinstance(owner, SimTask) and owner.process.death is not None
        if dead or isinstance(context.get("exception"), ProcessFenced):
            return
        if self._exception_handler is None:
            self.default_exception_handler(context)
        else:
            self._exception_handler(self, context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keeps the exception for the World, which raises it when the run ends."""
        error = context.get("exception")
        if not isinstance(error, Exception):
            owner = context.get("task") or context.get("future")
            error = SimulationError(f"{context.get('message')}{'' if owner is None else f' {owner!r}'}")
        self.failures.append(error)

    # Settings asyncio asks for

    get_debug = staticmethod(bool)
    """False: the trace and the judges are the debug mode. (Futures ask at birth, so it is written in C.)"""

    def set_debug(self, enabled: bool) -> None:
        """Does nothing."""

    def get_task_factory(self) -> None:
        """Returns None: tasks are SimTasks."""

    def set_task_factory(self, factory: object) -> None:
        """Raises SimulationError unless `factory` is None: tasks must be SimTasks to be deterministic."""
        if factory is not None:
            raise SimulationError("a world makes its own tasks: a task factory cannot be set")


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """Drops the log lines of dead code while it is closed."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)


def _close_coroutine(task: SimTask) -> None:
    try:
        task.get_coro().close()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise


def _fail_unless_done(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
