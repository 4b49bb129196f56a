"""The syncs of a simulated disk that are under way, and the stall that lets none of them end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rube.api.errors import DataLossError
from rube.sim.world.disk.log import LogContent

if TYPE_CHECKING:
    from rube.sim.world.kernel.loop import InlineCall, SimLoop


class LogSync:
    """One sync of a log under way; it covers the file's content when it began."""

    __slots__ = ("content", "done", "length_bytes", "path")

    def __init__(self, path: str, content: LogContent, done: asyncio.Future[None]) -> None:
        self.path = path
        self.content = content
        self.length_bytes = len(content.data)
        self.done = done

    def end(self, error: DataLossError | None = None) -> None:
        """Answers the waiter."""
        if self.done.done():
            return  # the waiter was cancelled
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


@dataclass(slots=True, eq=False)
class _PageSync:
    """A sync of a file of pages or of a directory, whose time has not passed yet."""

    call: InlineCall
    finish: Callable[[], None]
    stalled: bool
    """It ends with the disk's stall at the earliest."""
    undo: list[Callable[[], None]] = field(default_factory=list)
    """The effects of the function after it, which have not happened before it has ended."""


class Syncs:
    """The syncs under way on one disk. `finish` carries out a sync of a log whose time has passed."""

    def __init__(self, loop: SimLoop, finish: Callable[[LogSync], None]) -> None:
        self._loop = loop
        self._finish = finish
        # Under way, oldest first.
        self._logs: list[LogSync] = []
        self._pages: list[_PageSync] = []
        # Syncs of logs that only wait for the end of a stall; None: no stall.
        self._stalled: list[LogSync] | None = None
        # Done when the stall ends.
        self._gate: asyncio.Future[None] | None = None

    # Logs

    def begin_log(self, path: str, content: LogContent) -> LogSync:
        sync = LogSync(path, content, self._loop.create_future())
        self._logs.append(sync)
        return sync

    def end_after(self, latency_ns: int, sync: LogSync) -> None:
        """Ends the sync once so much time has passed, or with the stall."""
        self._loop.after_ns(latency_ns, self._due, sync)

    def _due(self, sync: LogSync) -> None:
        if sync not in self._logs:
            return  # the host lost power first
        if self._stalled is not None:
            self._stalled.append(sync)
            return
        self._logs.remove(sync)
        self._finish(sync)

    # Files of pages and directories

    def spend(self, latency_ns: int) -> None:
        """Lets the running function take so much longer, and end with the stall at the earliest."""
        if self._stalled is not None and self._gate is None:
            self._gate = self._loop.create_future()
        self._loop.spend(latency_ns, self._gate)

    def begin_pages(self, finish: Callable[[], None]) -> None:
        """Begins a sync for which the running function has spent its time; `finish` is called when that has passed."""
        if (call := self._loop.inline_call) is None:
            finish()
            return
        sync = _PageSync(call, finish, stalled=call.gate is not None)
        self._pages.append(sync)
        self._loop.when_spent(lambda: self._end(sync))

    def ahead(self, undo: Callable[[], None]) -> None:
        """Has the step that is taken next undone if power is lost before the sync ends that the same function called
        before it."""
        call = self._loop.inline_call
        before = next((sync for sync in reversed(self._pages) if sync.call is call), None)
        if before is not None:
            before.undo.append(undo)

    def _end(self, sync: _PageSync) -> None:
        if sync in self._pages:
            self._pages.remove(sync)
            sync.finish()

    # Both

    def stall(self) -> bool:
        """Lets no sync end until `unstall`. Returns False if that is so already."""
        if self._stalled is not None:
            return False
        self._stalled = []
        return True

    def unstall(self) -> Callable[[], None] | None:
        """Ends the stall. Returns the function that lets what waited end, in its order; None if there is no stall."""
        if self._stalled is None:
            return None
        waiting, self._stalled = self._stalled, None
        gate, self._gate = self._gate, None

        def release() -> None:
            for sync in waiting:
                self._due(sync)
            if gate is not None and not gate.done():
                gate.set_result(None)

        return release

    def lose_power(self) -> None:
        """Undoes what has not happened yet. Within a function that has come this far, its syncs have ended."""
        self._logs.clear()
        if self._stalled is not None:
            self._stalled.clear()
        call = self._loop.inline_call
        for sync in [sync for sync in self._pages if sync.call is call and not sync.stalled]:
            self._end(sync)
        for sync in reversed(self._pages):
            for undo in reversed(sync.undo):
                undo()
        self._pages.clear()
