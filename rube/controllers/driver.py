"""The port to what a controller manages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from google.protobuf.any_pb2 import Any

from rube.api import Action, LogsRequest, LogsResponse

READ_BYTES_MAX = 48 * 1024
"""The most text in one response with log lines."""


class Driver(Protocol):
    """What a controller acts through on its machine.

    Things are named by strings; what they are is the controller's business.
    Level-triggered: `observe` is the truth, `changes` only says where to look; a lost change costs time, never truth.
    """

    async def list(self) -> Sequence[str]:
        """The names of everything on this machine that was made through this driver, sorted, whoever made it."""
        ...

    async def observe(self, name: str) -> Any:
        """What is there now, as the controller's observation message. Absent things have an observation too."""
        ...

    async def apply(self, action: Action) -> bool:
        """Carries out one action, idempotent per `action.id`; whether it is still under way.

        True: the rest needs time, such as a stop that waits for processes; the same action is applied again, with its
        id, when the thing changes or after a while. It never waits for that itself: how it goes shows in `observe`.

        Raises a RubeError if it cannot be carried out at all; the runtime retries with backoff.
        """
        ...

    def changes(self) -> AsyncIterator[str]:
        """The names of things that may have changed, from now on. After anything may have been missed: all of them."""
        ...

    def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        """What the thing has printed: the last `request.lines` lines and, with `follow`, what comes, until closed.

        The first response comes at once, also if there is nothing yet. A response holds at most READ_BYTES_MAX bytes of
        text, and nothing is read ahead of the caller. An absent thing has printed nothing.

        Raises a RubeError; FailedPreconditionError where `since` is asked for and no times are kept.
        """
        ...

    async def close(self) -> None:
        """Lets go of the driver's own resources. What it manages keeps running."""
        ...
