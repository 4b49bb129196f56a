"""An engine's view with applied writes that are not durable yet."""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedDict

from rube.host import EngineView, Write


class Overlay:
    """A `rube.host.EngineView` over an engine. Writes leave it in the order in which they came, once they are
    durable."""

    def __init__(self, engine: EngineView) -> None:
        self._engine = engine
        self._pending: SortedDict[bytes, bytes | None] = SortedDict()
        self._order: deque[bytes] = deque()
        # The number of writes of a key in `_order`; `_pending` has the newest of them.
        self._writes: Counter[bytes] = Counter()

    def add(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._pending[write.key] = write.value
            self._writes[write.key] += 1
            self._order.append(write.key)

    def durable(self, count: int) -> None:
        """Notes that the oldest `count` writes are in the engine."""
        for _ in range(count):
            key = self._order.popleft()
            self._writes[key] -= 1
            if not self._writes[key]:
                del self._writes[key], self._pending[key]

    def clear(self) -> None:
        self._pending.clear()
        self._order.clear()
        self._writes.clear()

    def get(self, key: bytes) -> bytes | None:
        if key in self._pending:
            value: bytes | None = self._pending[key]
            return value
        return self._engine.get(key)

    def scan(self, start: bytes, end: bytes, *, limit: int = 0, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        pending = [
            (key, self._pending[key])
            for key in self._pending.irange(start, end, inclusive=(True, False), reverse=reverse)
        ]
        if not pending:
            return self._engine.scan(start, end, limit=limit, reverse=reverse)
        hidden = {key for key, _ in pending}
        kept = (pair for pair in self._engine.scan(start, end, reverse=reverse) if pair[0] not in hidden)
        added = [(key, value) for key, value in pending if value is not None]
        return islice(heapq.merge(kept, added, reverse=reverse), limit or None)
