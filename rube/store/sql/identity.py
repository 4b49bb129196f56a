"""The identity of the history that a process serves, and the check that the database still holds it."""

from __future__ import annotations

import asyncio

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.store.sql.errors import DatabasePlace


class Identity:
    """The identity of one store. Another store in its place, or an older state of it, ends it: clients have to list
    again."""

    def __init__(self, store_id: str, place: DatabasePlace) -> None:
        self.store_id = store_id
        # The newest revision that this process knows to be durable.
        self.revision = 0
        self._place = place
        self._trouble: RubeError | None = None
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self._trouble is not None

    def reached(self, revision: int) -> None:
        self.revision = max(self.revision, revision)

    def check(self, store_id: str, revision: int, known_revision: int) -> None:
        """Compares the database's state; `known_revision` is `self.revision` before the query.

        Raises FailedPreconditionError for another store, DataLossError for an older state; every later call raises it,
        too.
        """
        where = f"the store in database {self._place.database!r} at {self._place.server}"
        if store_id != self.store_id:
            self._end(
                FailedPreconditionError(f"{where} was removed, or replaced by another: restart this process"),
            )
        elif revision < known_revision:
            self._end(
                DataLossError(
                    f"{where} went back from revision {known_revision} to {revision}, as if an older copy of the "
                    "database had been put in its place: give it a new id (UPDATE rube_head SET store_id = "
                    "LOWER(REPLACE(UUID(), '-', ''))) and restart all apiservers, so that their clients list again"
                )
            )
        if self._trouble is not None:
            raise type(self._trouble)(self._trouble.message)

    async def over(self) -> RubeError:
        """Waits until a check has found another store or an older state, and returns the error."""
        await self._over.wait()
        assert self._trouble is not None
        return self._trouble

    def _end(self, trouble: RubeError) -> None:
        self._trouble = self._trouble or trouble
        self._over.set()
