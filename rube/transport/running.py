"""The calls whose handlers a server runs: how many there may be, and when the last one has ended."""

from __future__ import annotations

import asyncio
import logging

from rube.api.errors import NotDoneError, ResourceExhaustedError

_LOG = logging.getLogger("rube.transport")

REMIND_S = 10.0
"""While a server that stops waits for handlers, it names them and cancels them once more each time this has passed."""
NAMED_MAX = 5


class Running:
    """The handlers of one server, in the order in which they began."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._tasks: dict[asyncio.Task[object], str] = {}
        self._closed = False
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, method: str) -> None:
        """The current task runs a handler from now on, until `end`.

        Raises NotDoneError after `close`, ResourceExhaustedError past `calls_max`; then it must not.
        """
        if self._closed:
            raise NotDoneError("this server has stopped: ask another one, or again in a moment")
        if len(self._tasks) >= self._calls_max:
            raise ResourceExhaustedError(
                f"this server runs {len(self._tasks)} calls and watches already, and takes no more at a time "
                "(calls_max): ask another one, or again later",
                limit=self._calls_max,
            )
        task = asyncio.current_task()
        assert task is not None, "handlers run in tasks"
        self._tasks[task] = method

    def end(self) -> None:
        """The current task runs no handler any more."""
        task = asyncio.current_task()
        if task is not None and self._tasks.pop(task, None) is not None and not self._tasks:
            self._idle.set()

    async def close(self) -> None:
        """Returns once no handler runs, and none will: what begins from now on is refused.

        Handlers were cancelled before. One that does not end is waited for, since what it uses is closed next; the log
        names it.
        """
        self._closed = True
        self._tasks.pop(asyncio.current_task(), None)  # type: ignore[arg-type]  # a handler that stops its own server
        while self._tasks:
            self._idle.clear()
            try:
                async with asyncio.timeout(REMIND_S):
                    await self._idle.wait()
            except TimeoutError:
                self._remind()

    def _remind(self) -> None:
        methods = list(self._tasks.values())
        more = f" and {len(methods) - NAMED_MAX} more" if len(methods) > NAMED_MAX else ""
        _LOG.warning(
            "the server has been stopping for %g s, and these calls do not end: %s%s",
            REMIND_S,
            ", ".join(methods[:NAMED_MAX]),
            more,
        )
        for task in list(self._tasks):
            task.cancel()
