"""An engine with what was applied and is not written yet."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedDict

from rube.host import EngineView, Write

# Of a key that nothing is pending for; None stands for a delete.
_ABSENT = object()


class Overlay:
    """`rube.host.EngineView` over an engine. Writes leave it in the order in which they came, once they are durable."""

    def __init__(self, engine: EngineView) -> None:
        self._engine = engine
        self._pending: SortedDict[bytes, bytes | None] = SortedDict()
        self._order: deque[Write] = deque()

    def add(self, writes: Sequence[Write]) -> None:
        for write in writes:
            self._pending[write.key] = write.value
        self._order.extend(writes)

    def durable(self, count: int) -> None:
        """The oldest `count` writes are in the engine."""
        for _ in range(count):
            key, value = self._order.popleft()
            if self._pending.get(key, _ABSENT) is value:
                del self._pending[key]

    def clear(self) -> None:
        self._pending.clear()
        self._order.clear()

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
