"""World: hosts, processes, time and randomness of one simulation, driven from synchronous code."""

from __future__ import annotations

import asyncio
import random  # noqa: TID251 - only the type of a seeded generator
from collections.abc import Callable, Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar

from simpy import Environment

from rube.sim.world.kernel import collector
from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.errors import (
    DeadlockError,
    HostStateError,
    ProcessDiedError,
    RunTimeoutError,
    SimulationFailures,
)
from rube.sim.world.kernel.guards import guarded
from rube.sim.world.kernel.host import SimHost
from rube.sim.world.kernel.hostclock import TRUE_NS_MAX, HostClock, seconds_to_ns
from rube.sim.world.kernel.loop import SimLoop
from rube.sim.world.kernel.process import SimProcess
from rube.sim.world.kernel.running import running
from rube.sim.world.kernel.streams import RandomStreams
from rube.sim.world.kernel.trace import RECORDS_MAX, Trace

T = TypeVar("T")

START_UNIX_NS = 1_700_000_000 * 1_000_000_000
"""When worlds begin unless told otherwise: 2023-11-14T22:13:20Z."""

BOOT_SECONDS_MAX = 100_000
"""Hosts were booted up to this long before the world began, so that their monotonic clocks don't agree."""

OBSERVER = "observer"


class World:
    """One simulation. The same seed and the same calls give the same trace, in any process, at any time.

    Synchronous code drives it, as often as it likes, through `run`, `run_for` and `run_until`; each raises
    SimulationFailures for exceptions that no simulated code handled. Use it as a context manager, or `close` it:
    the garbage collector is off while a world is open. A world belongs to one thread.
    """

    def __init__(
        self,
        seed: int,
        *,
        start_unix_ns: int = START_UNIX_NS,
        tie_break: bool = False,
        trace_steps: bool = False,
        records_max: int | None = RECORDS_MAX,
    ) -> None:
        """`tie_break` lets the seed choose among callbacks ready at one instant; without it they run in order.

        `trace_steps` folds every callback into the trace, to find where two runs part; `records_max` bounds the
        records the trace keeps for reports (None: all).
        """
        collector.hold()
        self.seed = seed
        self.start_unix_ns = start_unix_ns
        self.env = Environment(0)
        self.trace = Trace(self._now, records_max=records_max)
        self.loop = SimLoop(self.env, self.trace)  # type: ignore[abstract]  # unsupported.py fills the rest in
        self.streams = RandomStreams(seed)
        self._hosts: dict[str, SimHost] = {}
        self._process_index = 0
        self.observer = SimHost(self, OBSERVER, HostClock(0, 0, start_unix_ns, 0))
        """A machine with an exact clock that never fails, where `run` runs its coroutines. Not among `hosts`."""
        self.loop.root = SimProcess(self.observer, OBSERVER, 1, 0)
        self.loop.trace_steps = trace_steps
        if tie_break:
            self.loop.tie_break = self.random("kernel/tie-break")

    def __enter__(self) -> World:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except SimulationFailures as failures:
            if error is None:
                raise
            error.add_note(f"and unhandled in the world: {failures.exceptions!r}")

    # What there is

    @property
    def now_ns(self) -> int:
        """True virtual time in nanoseconds since the start of the world."""
        return self._now()

    @property
    def hosts(self) -> tuple[SimHost, ...]:
        """The hosts in the order of their making."""
        return tuple(self._hosts.values())

    def host(self, name: str, *, drift_ppm: int = 0, clock_offset_ns: int = 0) -> SimHost:
        """Returns the host called `name`, made on first use with this drift and this error of its wall clock."""
        host = self._hosts.get(name)
        if host is None:
            if name == OBSERVER:
                raise HostStateError(f"the name {OBSERVER} is taken by the world's own host")
            monotonic_ns = self.random(f"kernel/boot/{name}").randrange(BOOT_SECONDS_MAX) * 1_000_000_000
            wall_ns = self.start_unix_ns + self.now_ns + clock_offset_ns
            host = SimHost(self, name, HostClock(self.now_ns, monotonic_ns, wall_ns, drift_ppm))
            self._hosts[name] = host
            self.trace.add("host", name, drift_ppm, clock_offset_ns)
        return host

    def random(self, name: str) -> random.Random:
        """Returns the random stream called `name`: it depends on the seed and the name only."""
        return self.streams.stream(name)

    # Driving

    def run(
        self,
        main: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        host: SimHost | None = None,
        timeout_s: float = 3600.0,
    ) -> T:
        """Runs `main(*args)` to its end and returns its result.

        On the observer (the default) tasks it leaves behind live on, for later calls. On another host it runs in
        a process of its own called "run", which ends with it. Raises what `main` raises; DeadlockError if nothing
        is left to happen; RunTimeoutError after `timeout_s` of virtual time (main is then cancelled, or its
        process killed); ProcessDiedError if its host or process dies.
        """
        outcome: list[T] = []

        async def body() -> None:
            outcome.append(await main(*args))

        with running(self.loop), guarded(self._wall_ns):
            error = self._run_here(body(), timeout_s) if host is None else self._run_on(host, body, timeout_s)
        if error is not None:
            self._raise(error)
        self._surface()
        if not outcome:
            raise ProcessDiedError(f"{_name(main)} ended without a result: its process died or was cancelled")
        return outcome[0]

    def run_for(self, seconds: float) -> None:
        """Lets `seconds` of true virtual time pass."""
        target = self.now_ns + seconds_to_ns(seconds)
        with running(self.loop), guarded(self._wall_ns):
            self._drive(target)
            self.env._now = target
        self._surface()

    def run_until(self, predicate: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Runs until `predicate()`, asked after every event in no process, is true.

        Raises RunTimeoutError when `timeout_s` of virtual time have passed without.
        """
        target = self.now_ns + seconds_to_ns(timeout_s)
        with running(self.loop), guarded(self._wall_ns):
            met = self._drive(target, predicate)
            if not met:
                self.env._now = target
        self._surface()
        if not met:
            raise RunTimeoutError(f"not true within {timeout_s} s of virtual time: {_name(predicate)}")

    def close(self) -> None:
        """Ends everything where it stands and drops it. Idempotent.

        Suspended coroutines are closed as code of dead processes: their `finally` blocks run and reach nothing in
        the world, and their errors are dropped. No hook runs, and the trace stays as it is. Raises
        SimulationFailures if any are left unsurfaced.
        """
        if self.loop.is_closed():
            return
        with running(self.loop), guarded(self._wall_ns):
            self.loop.end([process for host in self.hosts for process in host.processes])
        collector.release()
        self._surface()

    # For the kernel

    def next_process_index(self) -> int:
        """Returns the number of a new process; the observer's is 0."""
        self._process_index += 1
        return self._process_index

    def outside(self, function: Callable[..., T], *args: Any) -> T:
        """Calls `function` as the kernel, in no process."""
        return Context().run(function, *args)

    def _wall_ns(self) -> int:
        """Returns the wall clock of the host whose code is running: which log records are stamped with."""
        return CURRENT.get(self.loop.root).clock.wall_ns(self.now_ns)

    def _now(self) -> int:
        return self.loop.now_ns

    def _drive(self, until_ns: int, predicate: Callable[[], bool] | None = None) -> bool:
        return self.outside(self.loop.drive, until_ns, predicate)

    def _run_here(self, body: Coroutine[Any, Any, None], timeout_s: float) -> BaseException | None:
        task = self.loop.create_task(body, name="run", context=self.loop.root.context.copy())
        self._drive_to_end(task, timeout_s, task.cancel)
        return None if task.cancelled() else task.exception()

    def _run_on(
        self, host: SimHost, body: Callable[[], Coroutine[Any, Any, None]], timeout_s: float
    ) -> BaseException | None:
        process = host.spawn("run", body, crash_is_failure=False)
        self._drive_to_end(process.exit, timeout_s, process.kill)
        return process.exception

    def _drive_to_end(self, over: asyncio.Future[Any], timeout_s: float, give_up: Callable[[], object]) -> None:
        deadline = self.now_ns + seconds_to_ns(timeout_s)
        if self._drive(min(deadline, TRUE_NS_MAX - 1), over.done):
            return
        waiting = self._waiting()
        give_up()
        if self.env.peek() >= TRUE_NS_MAX:
            raise DeadlockError(f"run: nothing left to happen, still waiting: {waiting}")
        self.env._now = deadline
        raise RunTimeoutError(f"run: still unfinished after {timeout_s} s of virtual time, waiting: {waiting}")

    def _waiting(self) -> str:
        tasks = sorted((t for t in asyncio.all_tasks(self.loop)), key=hash)
        return ", ".join(map(repr, tasks[:20])) + (f" and {len(tasks) - 20} more" if len(tasks) > 20 else "")

    def _raise(self, error: BaseException) -> None:
        failures, self.loop.failures = self.loop.failures, []
        for failure in failures:
            error.add_note(f"also unhandled in the world: {failure!r}")
        raise error

    def _surface(self) -> None:
        if self.loop.failures:
            failures, self.loop.failures = self.loop.failures, []
            raise SimulationFailures(
                f"exceptions that no code handled, up to {self.now_ns / 1e9:.3f}s of virtual time", failures
            )


def _name(function: Callable[..., object]) -> str:
    """Returns the name of a function for an error: its default repr has an address in it."""
    return getattr(function, "__qualname__", type(function).__name__)
