"""The configuration of a client."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClientConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """The limits of a client's patience. Times in seconds."""

    # A call with all of its attempts, if the caller gives no deadline of its own.
    deadline_s: float = 10.0
    # One attempt of a call that may be retried; also how long a watch waits for its first response.
    attempt_s_max: float = 5.0
    retries_max: int = 6
    # The pause between two attempts: a random part of a bound that doubles from the first to the second.
    backoff_s_initial: float = 0.1
    backoff_s_max: float = 2.0
    # Pages that a list follows before it gives up: a bound for the loop.
    pages_max: int = 100_000
    # How often a list begins again because the server has compacted its revision between two pages.
    list_restarts_max: int = 3
