"""Taps: observers of the calls that the processes of a host make, as those processes see them."""

from __future__ import annotations

from typing import Any, Protocol

from grpc import StatusCode

from rube.sim.world.network.frames import Pairs


class CallTap(Protocol):
    """Observes one call. It runs in the calling process and must neither block, raise, nor keep a message."""

    def received(self, message: Any) -> None:
        """The caller takes a response; of a unary call after `ended`."""
        ...

    def ended(self, code: StatusCode, details: str, trailing: Pairs) -> None:
        """The call is over. Never called for one whose process dies first."""
        ...


class Tap(Protocol):
    """Observes the calls of one network."""

    def begun(self, method: str, request: Any, target: str) -> CallTap | None:
        """A process makes a call with one request, to `/package.Service/Method` at `host:port`.

        None: it is not observed.
        """
        ...
