"""Faults that strike a host while it writes: between the request to its disk and the durable result."""

from __future__ import annotations

from collections.abc import Callable

from rube.sim.cluster.machines import Machine


class Interrupt:
    """Waits for the host's `writes`-th write from now, and strikes `after_ns` later: once, unless it is called off.

    A write of a log is its sync; of a file of pages each step, which is not carried out if this strikes at once.
    """

    def __init__(self, machine: Machine, strike: Callable[[], None], *, writes: int, after_ns: int) -> None:
        self._machine = machine
        self._strike = strike
        self._left = writes
        self._after_ns = after_ns
        self._forget = [machine.disk.on_sync(self._sync), machine.disk.on_step(self._step)]
        self._off = False

    def call_off(self) -> None:
        """Strikes nothing from here on."""
        self._off = True
        self._stop_waiting()

    def _sync(self) -> None:
        if self._is_due():
            self._strike_later()

    def _step(self) -> None:
        if not self._is_due():
            return
        if self._after_ns:
            self._strike_later()
        else:
            self._machine.host.world.outside(self._act)

    def _is_due(self) -> bool:
        self._left -= 1
        if not self._left:
            self._stop_waiting()
        return not self._left

    def _strike_later(self) -> None:
        host = self._machine.host
        host.loop.after_ns(self._after_ns, host.world.outside, self._act)

    def _stop_waiting(self) -> None:
        for forget in self._forget:
            forget()

    def _act(self) -> None:
        if not self._off:
            self._strike()
