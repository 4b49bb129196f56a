"""SimProcess: one incarnation of a simulated daemon. It runs, ends by itself, or is killed; it never comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from rube.sim.world.kernel.context import CURRENT
from rube.sim.world.kernel.errors import ProcessFenced

if TYPE_CHECKING:
    from rube.sim.world.kernel.handles import SimHandle, SimTimer
    from rube.sim.world.kernel.host import SimHost
    from rube.sim.world.kernel.loop import SimLoop

T = TypeVar("T")
Main = Callable[[], Coroutine[Any, Any, object]]
DeathHook = Callable[["SimProcess", "Death"], None]

RUNNING, PAUSED, DEAD = 0, 1, 2
SIGKILL_RETURNCODE = -9
SIGTERM_RETURNCODE = -15


class Death(Enum):
    """The end of an incarnation. Hooks decide by it what peers and disks notice."""

    EXIT = "exit"
    """Its main ended: connections close in order, what was written is written."""
    KILL = "kill"
    """kill -9: the operating system resets its connections; what was written, also un-synced, stays."""
    POWER_LOSS = "power loss"
    """The machine went: peers see silence, un-synced writes vanish."""


class SimProcess:
    """One incarnation of a named process on a host. Made by `SimHost.spawn`.

    Tasks and callbacks started by its code belong to it. When it is dead they are dropped where they stand: no
    `finally` of theirs runs while the world lives, and ports refuse what still runs in its name (`check_alive`).
    """

    def __init__(self, host: SimHost, name: str, incarnation: int, index: int) -> None:
        self.host = host
        self.name = name
        self.incarnation = incarnation
        self.index = index
        """Number in the world, in the order of starting; stands for the process in the trace's timers."""
        self.loop: SimLoop = host.loop
        self.clock = host.hostclock
        self.gate = RUNNING
        """RUNNING, PAUSED or DEAD; the loop looks at it before it runs a callback."""
        self.death: Death | None = None
        self.returncode: int | None = None
        """Exit status once dead: main's int or 0, 1 for an exception, -9 killed, -15 stopped; None: power loss."""
        self.exception: BaseException | None = None
        """The error that main raised, if it did."""
        self.context = Context()
        self.context.run(CURRENT.set, self)
        self.exit: asyncio.Future[int | None] = self.loop.create_future()
        """Done, with the returncode, when the process is dead."""
        self.crash_is_failure = True
        self._main: asyncio.Task[object] | None = None
        self._stopping = False
        self._held: list[SimHandle | SimTimer] = []
        self._hooks: list[DeathHook] = []

    def __str__(self) -> str:
        return f"{self.host.name}/{self.name}#{self.incarnation}"

    def __repr__(self) -> str:
        return f"<SimProcess {self}>"

    @property
    def alive(self) -> bool:
        """True if the process has not ended; a paused one is alive."""
        return self.gate != DEAD

    def check_alive(self) -> None:
        """Raises ProcessFenced if this incarnation is dead: ports call it with `current_process()`."""
        if self.gate == DEAD:
            raise ProcessFenced(f"{self} is dead: nothing it does reaches the world")

    def on_death(self, hook: DeathHook) -> None:
        """Calls `hook(process, death)` once when the process has died, in no process, in the order registered."""
        self.check_alive()
        self._hooks.append(hook)

    def create_task(self, coro: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Starts a task in this process from any caller: so a server's handler runs in the server."""
        self.check_alive()
        return self.loop.create_task(coro, name=name, context=self.context.copy())

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        """Runs `callback` at this instant in this process, after the ready callbacks; dropped if it is dead."""
        self.loop.call_soon(callback, *args, context=self.context.copy())

    def stop(self) -> None:
        """Ask for a graceful end, as SIGTERM does: main is cancelled and may take its time. Idempotent."""
        if self.alive and self._main is not None and not self._stopping:
            self._stopping = True
            self._main.cancel()

    def kill(self) -> None:
        """Ends the process at once, as kill -9 does. Idempotent."""
        self.host.bury([self], Death.KILL)

    def exited(self, code: object) -> None:
        """Ends the process as `sys.exit(code)` in any of its tasks does."""
        if self.alive:
            self.returncode = _exit_status(code)
            self.host.bury([self], Death.EXIT)

    # For the kernel

    def start(self, main: Main) -> None:
        """Runs `main` as the process's first task; for SimHost."""
        self._main = self.loop.create_task(main(), name="main", context=self.context)
        self._main.add_done_callback(self._main_done, context=Context())

    def hold(self, handle: SimHandle | SimTimer) -> None:
        """Keeps a due callback until the pause ends, or drops it: the process is dead."""
        if self.gate == PAUSED:
            self._held.append(handle)

    def pause(self) -> None:
        """Holds everything from now on; for SimHost."""
        if self.gate == RUNNING:
            self.gate = PAUSED

    def resume(self) -> None:
        """Makes the held callbacks ready; for SimHost."""
        if self.gate == PAUSED:
            self.gate = RUNNING
            held, self._held = self._held, []
            self.loop.resume_held(held)

    def fence(self, death: Death) -> None:
        """Mark dead; for the kernel, which keeps the tasks."""
        self.gate = DEAD
        self.death = death
        if death is Death.KILL:
            self.returncode = SIGKILL_RETURNCODE
        self._held = []

    def run_hooks(self, death: Death) -> None:
        """Tells the hooks and completes `exit`; for SimHost."""
        hooks, self._hooks = self._hooks, []
        for hook in hooks:
            hook(self, death)
        if not self.exit.done():
            self.exit.set_result(self.returncode)

    def _main_done(self, main: asyncio.Task[object]) -> None:
        """Takes main's outcome; then, as asyncio.run does, cancels the tasks that it left behind, and ends after
        that."""
        if not self.alive:
            return
        if main.cancelled():
            self.returncode = SIGTERM_RETURNCODE
        elif (error := main.exception()) is None:
            result = main.result()
            self.returncode = result if isinstance(result, int) else 0
        elif isinstance(error, SystemExit):
            self.returncode = _exit_status(error.code)
        else:
            self._crash(error)
        if self.loop.tasks_of([self]) or self.loop.generators.has_any(self):
            last = self.create_task(self._sweep_out(), name="exit")
            last.add_done_callback(self._swept_out, context=Context())
        else:
            self.host.bury([self], Death.EXIT)

    def _crash(self, error: BaseException) -> None:
        self.returncode = 1
        self.exception = error
        if self.crash_is_failure:
            self.loop.call_exception_handler({"message": f"{self} crashed", "exception": error})

    async def _sweep_out(self) -> None:
        current = asyncio.current_task()
        left = [task for task in self.loop.tasks_of([self]) if task is not current]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in left:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.loop.call_exception_handler({"message": f"end of {self}", "exception": error})
        await self.loop.generators.close_all(self)

    def _swept_out(self, _: asyncio.Task[None]) -> None:
        self.host.bury([self], Death.EXIT)


def _exit_status(code: object) -> int:
    """Returns the exit status that `sys.exit(code)` gives a process."""
    if code is None:
        return 0
    return code if isinstance(code, int) else 1
