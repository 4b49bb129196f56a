"""The port to what a group agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from rube.host import Write


class Effect(NamedTuple):
    """What a command did: an outcome for who proposed it (an error is raised there), and the writes that keep it."""

    outcome: Any
    writes: Sequence[Write]


NOTHING = Effect(None, ())


class StateMachine(Protocol):
    """A state that lives in an engine's key ranges and changes by commands alone.

    `apply` takes no clock and no randomness: members that apply the same commands make the same writes, byte for byte
    (their hashes are compared).
    """

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        """The engine's keys, start <= key < end, that hold the state; a snapshot is what stands there."""
        ...

    def apply(self, command: bytes) -> Effect:
        """Applies the command. Reads show it at once; its writes are durable later, and in order."""
        ...

    def durable(self, writes: int) -> None:
        """So many of the writes that `apply` gave, from the oldest on, are in the engine now."""
        ...

    def suspend(self) -> None:
        """The state in the engine is about to be replaced: no reads until `reload` has ended."""
        ...

    async def reload(self, group_id: str) -> None:
        """Takes up what stands in the engine: at the start, and after a snapshot."""
        ...
