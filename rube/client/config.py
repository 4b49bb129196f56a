"""What a client can be told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ClientConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How long a client tries. Times in seconds."""

    # A call with all of its attempts, where the caller gives no deadline of its own.
    deadline_s: float = 10.0
    # One attempt of a call that may be retried; also how long a watch waits for its first response.
    attempt_s_max: float = 5.0
    retries_max: int = 6
    # Between two attempts: a random part of a bound that doubles from the first to the second.
    backoff_s_initial: float = 0.1
    backoff_s_max: float = 2.0
    # Pages that a list follows before it gives up: a bound for the loop.
    pages_max: int = 100_000
    # How often a list begins anew because the server has forgotten its revision between two pages.
    list_restarts_max: int = 3
