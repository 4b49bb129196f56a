"""Faults that strike a host while it writes: between what it has asked its disk for and what is durable."""

from __future__ import annotations

from collections.abc import Callable

from rube.sim.cluster.machines import Machine


class Interrupt:
    """Waits for the host's `writes`-th sync from now, and strikes `after_ns` later: once, unless it is called off."""

    def __init__(self, machine: Machine, strike: Callable[[], None], *, writes: int, after_ns: int) -> None:
        self._machine = machine
        self._strike = strike
        self._left = writes
        self._after_ns = after_ns
        self._forget = machine.disk.on_sync(self._sync)
        self._off = False

    def call_off(self) -> None:
        """Nothing is struck from here on."""
        self._off = True
        self._forget()

    def _sync(self) -> None:
        self._left -= 1
        if self._left:
            return
        self._forget()
        host = self._machine.host
        host.loop.after_ns(self._after_ns, host.world.outside, self._act)

    def _act(self) -> None:
        if not self._off:
            self._strike()
