"""The port to the things that a controller manages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from google.protobuf.any_pb2 import Any

from rube.api import Action, LogsRequest, LogsResponse

READ_BYTES_MAX = 48 * 1024
"""The most text in one response with log lines."""


class Driver(Protocol):
    """A controller's access to its machine.

    Things are named by strings; their nature is the controller's business. Level-triggered: `observe` has the truth,
    `changes` only says where to look; a lost change costs time, never truth.
    """

    async def list(self) -> Sequence[str]:
        """Returns the names of everything on this machine that was made through this driver, by any process, sorted."""
        ...

    async def observe(self, name: str) -> Any:
        """Returns the thing's present state, as the controller's observation message. Absent things have an observation
        too."""
        ...

    async def apply(self, action: Action) -> bool:
        """Carries out one action, idempotent per `action.id`; returns whether it is still under way.

        True: the rest needs time, such as a stop that waits for processes; the same action is applied again, with its
        id, when the thing changes or after a while. It never waits for that itself: `observe` shows the progress.

        Raises a RubeError if it cannot be carried out at all; the runtime retries with backoff.
        """
        ...

    def changes(self) -> AsyncIterator[str]:
        """Yields the names of things that may have changed, from now on. After a possible gap: all names."""
        ...

    def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        """Yields the thing's output: the last `request.lines` lines and, with `follow`, later ones, until closed.

        The first response comes at once, also if there is nothing yet. A response holds at most READ_BYTES_MAX bytes of
        text, and nothing is read ahead of the caller. An absent thing has no output.

        Raises a RubeError; FailedPreconditionError if `since` is set and the driver has no times.
        """
        ...

    async def close(self) -> None:
        """Releases the driver's own resources. The managed things keep running."""
        ...
