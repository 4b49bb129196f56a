"""The running handlers of a server: their limit, and the wait for the last one to end."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from rube.api.errors import NotDoneError, ResourceExhaustedError

_LOG = logging.getLogger("rube.transport")

REMIND_S = 10.0
"""While a server that stops waits for handlers, it names them and cancels them once more each time this has passed."""
NAMED_MAX = 5


class Running:
    """The handlers of one server, in the order in which they began."""

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._tasks: dict[asyncio.Task[object], tuple[str, Any]] = {}
        self._closed = False
        self._idle = asyncio.Event()
        # Up to Python 3.11 each question for the running loop is a system call.
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def contexts(self) -> list[tuple[asyncio.Task[object], Any]]:
        """Returns the tasks that run handlers, each with the servicer context of its call."""
        return [(task, context) for task, (_, context) in self._tasks.items()]

    def begin(self, method: str, context: Any = None) -> None:
        """Notes that the current task runs a handler from now on, until `end`.

        Raises NotDoneError after `close`, ResourceExhaustedError past `calls_max`; the handler must not run then.
        """
        if self._closed:
            raise NotDoneError("this server has stopped: ask another one, or try again")
        if len(self._tasks) >= self._calls_max:
            raise ResourceExhaustedError(
                f"this server runs {len(self._tasks)} calls and watches already, and takes no more at a time "
                "(calls_max): ask another one, or again later",
                limit=self._calls_max,
            )
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None, "handlers run in tasks"
        self._tasks[task] = (method, context)

    def end(self) -> None:
        """Notes that the current task runs no handler any more."""
        task = None if self._loop is None else asyncio.current_task(self._loop)
        if task is not None and self._tasks.pop(task, None) is not None and not self._tasks:
            self._idle.set()

    async def close(self) -> None:
        """Returns once no handler runs, and refuses new ones from now on.

        The handlers were cancelled before. A handler that does not end is waited for, since its resources are closed
        next; the log names it.
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
        methods = [method for method, _ in self._tasks.values()]
        more = f" and {len(methods) - NAMED_MAX} more" if len(methods) > NAMED_MAX else ""
        _LOG.warning(
            "the server has been stopping for %g s, and these calls do not end: %s%s",
            REMIND_S,
            ", ".join(methods[:NAMED_MAX]),
            more,
        )
        for task in list(self._tasks):
            task.cancel()
