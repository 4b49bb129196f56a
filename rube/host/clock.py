"""The port to time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # a program without a loop has a clock, too
    import asyncio


class Clock(Protocol):
    """The clock of one machine. It may drift against other machines' and be set; `monotonic_ns` never goes back.

    `sleep` and `timeout` follow the monotonic clock and never end before it has reached their deadline. Both pass
    cancellation through.
    """

    def now_ns(self) -> int:
        """Returns wall time: nanoseconds since the Unix epoch, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Returns nanoseconds since an arbitrary point; comparable only on this machine, since its start."""
        ...

    async def sleep(self, delay_s: float) -> None: ...

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """Returns a context: `async with clock.timeout(1.5):` raises TimeoutError at the end of a block that takes
        longer."""
        ...
