"""The end of a member: whether it still runs, and the error that ended it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError, UnavailableError

_LOG = logging.getLogger("rube.group")


class RemovedError(FailedPreconditionError):
    """The group has removed the member that metadata `removed` names. Its disk cannot be used any more."""


class Termination:
    """The end of a member. It stops on request, or it fails; nothing that a failed member says can be trusted."""

    def __init__(self, name: str, end_waiting: Callable[[str], None]) -> None:
        """`end_waiting` is called with the reason when the waiting calls will get no answer any more."""
        self._name = name
        self._end_waiting = end_waiting
        # The error with which the member has failed.
        self.failed: asyncio.Future[RubeError] = asyncio.get_running_loop().create_future()
        self._stopped = False

    @property
    def over(self) -> bool:
        return self._stopped or self.failed.done()

    @property
    def was_removed(self) -> bool:
        return self.failed.done() and isinstance(self.failed.result(), RemovedError)

    def check(self) -> None:
        """Raises the error with which the member has failed, or UnavailableError if it has stopped."""
        if self.failed.done():
            error = self.failed.result()
            raise type(error)(error.message, **error.metadata)
        if self._stopped:
            raise UnavailableError(f"member {self._name!r} has stopped: try another one")

    def stop(self) -> None:
        """Notes that the owner has asked the member to stop."""
        self._stopped = True
        self._end_waiting(f"member {self._name!r} stops")

    def fail(self, error: Exception) -> None:
        """Ends the member with that error. An error that is no RubeError becomes a DataLossError: an invariant is
        broken."""
        if not isinstance(error, RubeError):
            _LOG.error("member %s: an invariant is broken", self._name, exc_info=error)
            error = DataLossError(
                f"member {self._name!r} stops, an invariant is broken: {error!r}; an older copy of its disk, or one "
                "that two processes use copies of, shows so: remove the member from its group, wipe the disk and let "
                "it join again"
            )
        if not self.failed.done():
            _LOG.error("member %s fails: %s", self._name, error.message)
            self.failed.set_result(error)
        self._end_waiting(error.message)

    async def failure(self) -> None:
        """Waits until the member fails, and raises the error."""
        raise await asyncio.shield(self.failed)
