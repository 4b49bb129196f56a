"""Routes between hosts: latency, bandwidth, loss, and whether anything passes at all."""

from __future__ import annotations

import random  # noqa: TID251 (the type of a named stream)
from dataclasses import dataclass
from typing import Protocol

from rube.api.times import NS_PER_MS

RETRANSMIT_MS_MAX = 200.0
"""Data that a partition held back arrives within this, plus the latency, once it is healed; a lost segment likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The properties of one direction between two hosts."""

    latency_ms: float = 0.5
    jitter_ms: float = 0.1
    """A uniform draw from 0 to this is added to the latency of each frame; frames never overtake."""
    bandwidth_mbps: float = 1000.0
    """Megabits a second, shared by all connections of this direction; 0: unlimited."""
    loss: float = 0.0
    """The share of frames that are lost once, and so arrive a retransmission later."""

    def __post_init__(self) -> None:
        for name in ("latency_ms", "jitter_ms", "bandwidth_mbps"):
            if getattr(self, name) < 0:
                raise ValueError(f"link: {name} is {getattr(self, name)}, and must not be negative")
        if not 0 <= self.loss < 1:
            raise ValueError(f"link: loss is {self.loss}, and must be at least 0 and less than 1")


LOOPBACK = Link(latency_ms=0.02, jitter_ms=0.0, bandwidth_mbps=0.0)


class Stallable(Protocol):
    """A pipe that a route holds back while nothing passes."""

    def resume(self) -> None: ...


class Route:
    """One direction between two hosts."""

    def __init__(self, link: Link, rng: random.Random) -> None:
        self.link = link
        self.partitioned = False
        self.clogs = 0
        """How many clogs hold it now."""
        self._rng = rng
        self._busy_until_ns = 0
        self._pipes: dict[Stallable, None] = {}

    @property
    def blocked(self) -> bool:
        """True if nothing passes."""
        return self.partitioned or self.clogs > 0

    def delay_ns(self, now_ns: int, size_bytes: int) -> int:
        """Returns the time that `size_bytes` sent now take to arrive; they occupy the link meanwhile."""
        link = self.link
        delay = round(link.latency_ms * NS_PER_MS)
        if link.jitter_ms:
            delay += round(self._rng.random() * link.jitter_ms * NS_PER_MS)
        if link.loss and self._rng.random() < link.loss:
            delay += self.retransmit_ns()
        if link.bandwidth_mbps:
            start_ns = max(now_ns, self._busy_until_ns)
            self._busy_until_ns = start_ns + round(size_bytes * 8 * 1000 / link.bandwidth_mbps)
            delay += self._busy_until_ns - now_ns
        return delay

    def retransmit_ns(self) -> int:
        """Draws when TCP's timer may send again."""
        return round(self._rng.random() * RETRANSMIT_MS_MAX * NS_PER_MS)

    def attach(self, pipe: Stallable) -> None:
        """Tells `pipe` when something passes again."""
        self._pipes[pipe] = None

    def detach(self, pipe: Stallable) -> None:
        self._pipes.pop(pipe, None)

    def pipes(self) -> list[Stallable]:
        """Returns the pipes on this route, in the order of connecting."""
        return list(self._pipes)

    def unblocked(self) -> None:
        """Lets held-back bytes go on, unless another fault still blocks; in the order of connecting."""
        if not self.blocked:
            for pipe in list(self._pipes):
                pipe.resume()
