"""The port to the state that a group agrees on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from rube.host import Write


class Effect(NamedTuple):
    """The result of a command: an outcome for the proposer (an error is raised there), and the writes that make it
    durable."""

    outcome: Any
    writes: Sequence[Write]


NOTHING = Effect(None, ())


class StateMachine(Protocol):
    """A state that lives in an engine's key ranges and is changed by commands alone.

    `apply` takes no clock and no randomness: members that apply the same commands make the same writes, byte for byte
    (their hashes are compared).
    """

    @property
    def ranges(self) -> Sequence[tuple[bytes, bytes]]:
        """The engine's key ranges, start <= key < end, that hold the state; a snapshot holds the pairs in them."""
        ...

    def apply(self, command: bytes) -> Effect:
        """Applies the command. Reads see it at once; its writes become durable later, in order."""
        ...

    def durable(self, writes: int) -> None:
        """Notes that the oldest `writes` writes that `apply` returned are in the engine now."""
        ...

    def suspend(self) -> None:
        """Stops reads until `reload` has ended, since the state in the engine is about to be replaced."""
        ...

    async def reload(self, group_id: str) -> None:
        """Reads the state from the engine: at the start, and after a snapshot."""
        ...
