"""The append messages on their way to one follower, bounded by number and by bytes."""

from __future__ import annotations

import copy
from collections import deque


class Inflights:
    """A window of messages, oldest first: each with the index of its last entry and the bytes of its entries.

    Invariants: indexes grow from left to right; `bytes` is the sum over the window; at most `messages_max` messages.
    The byte limit is soft by one message: the message that crosses it is still sent. 0 bytes is no limit.
    """

    __slots__ = ("_window", "bytes", "bytes_max", "messages_max")

    def __init__(self, messages_max: int, bytes_max: int = 0) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.bytes = 0
        self._window: deque[tuple[int, int]] = deque()

    def add(self, index: int, size_bytes: int) -> None:
        """Notes a message that was sent. The caller has checked `full` before."""
        assert not self.full(), "a full window takes no message"
        self._window.append((index, size_bytes))
        self.bytes += size_bytes

    def free_le(self, index: int) -> None:
        """Frees the messages whose last entry is at or below `index`."""
        while self._window and self._window[0][0] <= index:
            self.bytes -= self._window.popleft()[1]

    def full(self) -> bool:
        """Returns whether no further message may be sent."""
        return len(self._window) == self.messages_max or (self.bytes_max != 0 and self.bytes >= self.bytes_max)

    def count(self) -> int:
        """Returns the number of messages under way."""
        return len(self._window)

    def reset(self) -> None:
        """Forgets every message."""
        self._window.clear()
        self.bytes = 0

    def clone(self) -> Inflights:
        """Returns a copy that shares nothing."""
        clone = Inflights(self.messages_max, self.bytes_max)
        clone.bytes = self.bytes
        clone._window = copy.copy(self._window)
        return clone
