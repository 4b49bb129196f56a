"""The limits of callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rube.server.entrance.kinds import CallKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The turns of one kind of calls."""

    turns_max: int
    caller_turns_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FairnessConfig:
    """The limits of callers. The defaults are far above what a healthy cluster needs."""

    shares: Mapping[CallKind, Share] = field(
        default_factory=lambda: {
            CallKind.WRITES: Share(turns_max=1_024, caller_turns_max=256),
            CallKind.GETS: Share(turns_max=1_024, caller_turns_max=128),
            CallKind.LISTS: Share(turns_max=64, caller_turns_max=8),
            CallKind.JOINS: Share(turns_max=64, caller_turns_max=8),
        }
    )
    waiting_max: int = 10_000
    """Calls of one kind in the line of one caller."""
    waiting_bytes_max: int = 64 * 1024 * 1024
    """Bytes of the requests in one line."""
    caller_streams_max: int = 10_000
    """Watches and logs of one caller that has a certificate or a token."""
    caller_upkeep_max: int = 1_000
    """Likewise its heartbeats at a time, and a node's or a controller's writes."""
    caller_calls_per_s_max: int = 0
    """Calls of one caller; as many at once. 0: any number. Calls of upkeep are not counted."""
