"""The process of the running code: one context variable, inherited by every task and callback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from rube.sim.world.kernel.errors import HostStateError

if TYPE_CHECKING:
    from rube.sim.world.kernel.host import SimHost
    from rube.sim.world.kernel.process import SimProcess

CURRENT: ContextVar[SimProcess] = ContextVar("rube.sim.process")
"""The process that the running code belongs to; unset in the kernel's own code and outside a world."""


def current_process() -> SimProcess:
    """Returns the process that the running code belongs to; HostStateError in the kernel or outside a world."""
    process = CURRENT.get(None)
    if process is None:
        raise HostStateError("no simulated process is running: call this from code that a world runs")
    return process


def current_host() -> SimHost:
    """Returns the host of the current process; HostStateError as for `current_process`."""
    return current_process().host


@contextmanager
def in_process(process: SimProcess) -> Iterator[None]:
    """Runs the block as code of `process`: its callbacks and tasks belong to it and use its host's clock.

    Only for code that does not await, such as a kernel event that passes a request to a server. Other context variables
    stay the caller's; `SimProcess.create_task` and `call_soon` start from the process's own.
    """
    token = CURRENT.set(process)
    try:
        yield
    finally:
        CURRENT.reset(token)
