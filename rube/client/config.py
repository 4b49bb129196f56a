"""The configuration of a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """The limits of a client's patience. Times in seconds."""

    deadline_s: float = 10.0
    """A call with all of its attempts, if the caller gives no deadline of its own."""
    attempt_s_max: float = 5.0
    """One attempt of a call that may be retried; also how long a watch waits for its first response."""
    retries_max: int = 6
    # The pause between two attempts: a random part of a bound that doubles from the first to the second.
    backoff_s_initial: float = 0.1
    backoff_s_max: float = 2.0
    pages_max: int = 100_000
    """Pages that a list follows before it gives up: a bound for the loop."""
    list_restarts_max: int = 3
    """How often a list begins again because the server has compacted its revision between two pages."""
