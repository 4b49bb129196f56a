"""The difference between a member whose process was started again and two processes that act as one member."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from rube.api.errors import FailedPreconditionError

RETURNS_MAX = 4
"""A displaced process may come again so often, since its call may have been late; more often means that it lives beside
the newer one."""
_SEEN_MAX = 8


class DoubledError(FailedPreconditionError):
    """Another process acts as that member: one of the two runs on a copy of the disk. Metadata: `doubled`."""


@dataclass(slots=True)
class _Seen:
    """The processes of one member in the order in which they first came, the last one that came, and how often one has
    come again since the newest is here."""

    order: deque[int] = field(default_factory=lambda: deque(maxlen=_SEEN_MAX))
    current: int = 0
    returns: int = 0
    refused: int = 0


class Incarnations:
    """The processes that have subscribed, by member."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def check(self, member: int, incarnation: int) -> None:
        """Notes that this process of the member subscribes. Raises DoubledError for the newer of two that live."""
        if not incarnation:
            return
        seen = self._seen.setdefault(member, _Seen())
        if incarnation not in seen.order:
            seen.order.append(incarnation)
            seen.returns = 0
        elif incarnation != seen.current:
            seen.returns += 1
            if seen.returns >= RETURNS_MAX:
                seen.refused = seen.order[-1]
        seen.current = incarnation
        if incarnation == seen.refused:
            raise DoubledError(
                f"another process acts as member {member:x}, and did before this one", doubled=f"{member:x}"
            )
