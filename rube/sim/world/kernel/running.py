"""The running loop of a thread, as asyncio and the interpreter must know it while simulated code runs."""

from __future__ import annotations

import sys
from asyncio import events
from collections.abc import Iterator
from contextlib import contextmanager

from rube.sim.world.kernel.errors import SimulationError, WorldClosedError
from rube.sim.world.kernel.loop import SimLoop


@contextmanager
def running(loop: SimLoop) -> Iterator[None]:
    """Makes `loop` the running loop of this thread for the block, with its hooks for async generators."""
    if loop.is_closed():
        raise WorldClosedError("this world was closed: make another")
    if events._get_running_loop() is not None:
        raise SimulationError("a world is driven from synchronous code: no event loop may be running here")
    hooks = sys.get_asyncgen_hooks()
    events._set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter=loop.generators.began, finalizer=loop.generators.abandoned)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        events._set_running_loop(None)
