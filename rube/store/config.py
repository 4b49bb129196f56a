"""The configuration of a store; each kind uses its part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rube.store.ports import StoreLimits

if TYPE_CHECKING:
    from rube.group import MemberObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """The limits of a store. A server behind a store can have lower ones; `Store.limits` has those in force."""

    limits: StoreLimits = field(
        default_factory=lambda: StoreLimits(
            # A revision is never split, and a client that takes no more than 4 MiB must be able to watch it.
            txn_ops_max=1000,
            txn_bytes_max=3 * 1024 * 1024,
            value_bytes_max=2 * 1024 * 1024,
        )
    )
    tail_bytes_max: int = 16 * 1024 * 1024
    """Bytes of recent rows that are kept in memory for watches and reads; fewer in a small store."""
    # A batch of a watch ends with the revision that reaches either.
    watch_changes_max: int = 1000
    watch_bytes_max: int = 4 * 1024 * 1024
    bookmark_interval_s: float = 5.0
    poll_interval_s: float = 0.05
    """How often a store without notifications polls for the commits of others while there are watches."""
    member_observer: MemberObserver | None = None
    """The observer of a replicated store's member, for tests and simulations."""
