"""Async generators that their iterator abandons: closed in the process that began them, never if it is dead."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from rube.sim.world.kernel.context import CURRENT

if TYPE_CHECKING:
    from rube.sim.world.kernel.process import SimProcess

Generator = AsyncGenerator[Any, Any]
SWEEP_GENERATORS_MIN = 1024
"""Generators that are gone are forgotten whenever the register has doubled and holds more than this."""


class _Loop(Protocol):
    """The part of the loop that the register uses."""

    root: SimProcess
    """The owner of the generators that no process began."""

    def is_closed(self) -> bool: ...


class AsyncGenerators:
    """The interpreter's hooks for async generators (`sys.set_asyncgen_hooks`) in a world.

    The register is keyed by address, because the weak reference is dead by the time the finalizer hook runs; a new
    generator at an old address takes its place in the register when it begins.
    """

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._begun: dict[int, tuple[ref[Generator], SimProcess]] = {}
        self._dead: list[Generator] = []
        self._sweep_at = SWEEP_GENERATORS_MIN

    def began(self, generator: Generator) -> None:
        """Remember which process first iterated the generator: the firstiter hook."""
        if len(self._begun) > self._sweep_at:
            self._begun = {key: entry for key, entry in self._begun.items() if entry[0]() is not None}
            self._sweep_at = max(SWEEP_GENERATORS_MIN, 2 * len(self._begun))
        self._begun[id(generator)] = ref(generator), CURRENT.get(self._loop.root)

    def abandoned(self, generator: Generator) -> None:
        """Closes a generator that nothing refers to any more, in its own process: the finalizer hook."""
        entry = self._begun.pop(id(generator), None)
        if entry is None:
            return  # the world has ended and let go of it
        _, process = entry
        if not process.alive or self._loop.is_closed():
            self._dead.append(generator)  # kept, and never closed: the interpreter finalizes only once
        else:
            process.create_task(_close(generator), name="close-generator")

    def has_any(self, process: SimProcess) -> bool:
        """Returns whether `process` began a generator that still exists."""
        return any(owner is process and reference() is not None for reference, owner in self._begun.values())

    async def close_all(self, process: SimProcess) -> None:
        """Closes what `process` began and has not finished, in the order of beginning, as asyncio.run does."""
        for key, (reference, owner) in list(self._begun.items()):
            if owner is process and (generator := reference()) is not None:
                self._begun.pop(key, None)
                await _close(generator)

    def clear(self) -> None:
        """Drops everything, since the world ends."""
        self._begun.clear()
        self._dead.clear()


async def _close(generator: Generator) -> None:
    with suppress(RuntimeError):  # it is running, or ignores the close: as in asyncio, its own affair
        await generator.aclose()
