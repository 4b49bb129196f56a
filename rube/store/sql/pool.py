"""A bounded pool of connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rube.api.errors import UnavailableError
from rube.api.times import NS_PER_S
from rube.host import Clock
from rube.store.sql.errors import LostError, RefusedError, translate
from rube.store.sql.session import SILENCE_S_MAX, Params, Rows, Session, SqlTarget

IDLE_S_MAX = SILENCE_S_MAX / 2
"""A connection that was idle for so long is not used again: the server may be about to end it."""
WAIT_S_MAX = 30.0
"""How long a caller waits for a connection when all are in use."""
READ_TRIES_MAX = 3
RETRY_DELAY_S = 0.05


class Pool:
    """At most `size_max` connections at a time.

    A connection returns to the pool only if its last statement was answered: one whose statement was cancelled or lost,
    or that was in the middle of a transaction, is closed.
    """

    def __init__(self, target: SqlTarget, clock: Clock, size_max: int) -> None:
        self.target = target
        self._clock = clock
        self._places = asyncio.Semaphore(size_max)
        self._free: list[Session] = []
        self._is_closed = False

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lends a connection. Raises RefusedError and LostError from a new connection; UnavailableError if all stay in
        use."""
        try:
            async with self._clock.timeout(WAIT_S_MAX):
                await self._places.acquire()
        except TimeoutError as error:
            raise UnavailableError(f"no connection to {self.target.place.server} became free: try again") from error
        try:
            session = self._take() or await Session.connect(self.target, self._clock)
            whole = False
            try:
                yield session
                whole = True
            finally:
                if whole and not session.is_broken and not self._is_closed:
                    self._free.append(session)
                else:
                    session.close()
        finally:
            self._places.release()

    async def read(self, statement: str, params: Params = ()) -> Rows:
        """Returns the rows of one statement that changes nothing, on any connection.

        A lost connection is tried again at once, since a pooled one may have ended unseen. Raises RubeErrors.
        """
        for tries in range(1, READ_TRIES_MAX + 1):
            try:
                async with self.session() as session:
                    return await session.query(statement, params)
            except LostError as error:
                self.drop_free()
                if tries == READ_TRIES_MAX:
                    raise translate(error, self.target.place) from error
            except RefusedError as error:
                raise translate(error, self.target.place) from error
            await self._clock.sleep(RETRY_DELAY_S)
        raise AssertionError("the last try returns or raises")

    def drop_free(self) -> None:
        """Closes the idle connections: after one was lost the others are likely gone too."""
        while self._free:
            self._free.pop().close()

    def close(self) -> None:
        """Closes the idle connections; those in use are closed when they return."""
        self._is_closed = True
        self.drop_free()

    def _take(self) -> Session | None:
        oldest_ns = self._clock.monotonic_ns() - int(IDLE_S_MAX * NS_PER_S)
        while self._free:
            session = self._free.pop()
            if session.used_at_ns >= oldest_ns:
                return session
            session.close()
        return None
