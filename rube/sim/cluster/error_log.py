"""The error log of a world: errors that daemons log, and calls of their controllers that are refused."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rube.api.errors import RubeError
from rube.api.times import NS_PER_S
from rube.controllers.config import Refused
from rube.sim.judges import DaemonError, ErrorsLogged, History, Refusal
from rube.sim.world.kernel import LivelockError, current_process

DECISIONS_PER_S_MAX = 200
"""So many decisions about one object within a second of virtual time are a livelock: nothing real needs them."""
EXCEPTIONS_MAX = 100
"""So many exceptions are kept; those after them tell nothing new."""


class _ErrorCounter(logging.Handler):
    """Counts the errors that code of a world logs, by host and logger."""

    def __init__(self, history: History, now_ns: Callable[[], int]) -> None:
        super().__init__(logging.ERROR)
        self._history = history
        self._now_ns = now_ns

    def emit(self, record: logging.LogRecord) -> None:
        host = current_process().host.name
        found = self._history.errors.setdefault((host, record.name), ErrorsLogged(host=host, logger=record.name))
        found.count += 1
        found.last, found.last_ns = record.getMessage(), self._now_ns()
        unknown = _unknown(record.exc_info[1]) if record.exc_info else None
        if unknown is not None and len(self._history.exceptions) < EXCEPTIONS_MAX:
            text = f"{type(unknown).__name__}: {unknown}, {record.name}: {record.getMessage()}"
            self._history.exceptions.append(DaemonError(self._now_ns(), host, text))


def _unknown(error: BaseException | None) -> BaseException | None:
    """Returns the first exception in it that is not one of Rube's errors."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for inner in error.exceptions if (found := _unknown(inner)) is not None), None)
    return None if isinstance(error, RubeError) else error


@contextmanager
def errors_counted(history: History, now_ns: Callable[[], int]) -> Iterator[None]:
    """While it lasts, errors that are logged in the world are counted in the history, as far as logging is on."""
    counter = _ErrorCounter(history, now_ns)
    root = logging.getLogger()
    root.addHandler(counter)
    try:
        yield
    finally:
        root.removeHandler(counter)


def refusal_recorder(history: History, now_ns: Callable[[], int], host: str) -> Callable[[Refused], None]:
    """Returns a recorder of the calls that the server refused to a controller runtime on that host."""

    def record(refused: Refused) -> None:
        error = refused.error
        history.refusals.append(
            Refusal(
                at_ns=now_ns(),
                host=host,
                controller=refused.controller,
                key=str(refused.key),
                code=error.code,
                message=error.message,
            )
        )

    return record


class Pace:
    """Ends a daemon whose controller decides about one object so often that virtual time hardly passes."""

    def __init__(self, now_ns: Callable[[], int], host: str) -> None:
        self._now_ns = now_ns
        self._host = host
        # By controller and key: the second of its last decision, and the number of its decisions in that second.
        self._decided: dict[tuple[str, str], tuple[int, int]] = {}

    def decided(self, controller: str, key: str) -> None:
        """Notes one decision. Raises LivelockError past the bound."""
        now_ns = self._now_ns()
        second, count = self._decided.get((controller, key), (-1, 0))
        count = count + 1 if second == now_ns // NS_PER_S else 1
        self._decided[controller, key] = (now_ns // NS_PER_S, count)
        if count > DECISIONS_PER_S_MAX:
            raise LivelockError(
                f"controller {controller} on {self._host} decided {count} times about {key} within the second of "
                f"virtual time from {now_ns // NS_PER_S}s on, the last time at {now_ns} ns: its own calls make it "
                "decide again; let its decision be the same where nothing has changed, and `wake_after` not be short"
            )
