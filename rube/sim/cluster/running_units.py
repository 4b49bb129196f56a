"""The running units of a simulated machine, as a judge sees them: their states, and every start and end."""

from __future__ import annotations

from collections.abc import Callable

from rube.sim.cluster.convergence import SeenUnit, process_of
from rube.sim.judges import DaemonError, Transition
from rube.sim.units.service_manager import SimServiceManager
from rube.sim.world.kernel import SimHost
from rube.units.names import parse_unit_name


class UnitWatcher:
    """Looks over a service manager's shoulder, across kills of the rubelet and power losses of the host."""

    def __init__(
        self,
        host: SimHost,
        manager: SimServiceManager,
        note: Callable[[Transition], None],
        inherited: Callable[[DaemonError], None],
        installed: Callable[[str, int], None],
    ) -> None:
        """`inherited` is called for a process that goes on under the name of another object, `installed` of the uid and
        the generation of each definition that is there."""
        self._host = host
        self._manager = manager
        self._note = note
        self._inherited = inherited
        self._installed = installed
        # By unit: its running process, as (main pid, uid).
        self._running: dict[str, tuple[int, str]] = {}
        manager.on_change(self._changed)
        host.on_power_off(self._lost)

    def units(self) -> dict[str, SeenUnit]:
        """Every installed unit of Rube by `namespace/name`."""
        found: dict[str, SeenUnit] = {}
        for name in self._manager.names():
            observation = self._manager.observation(name)
            state = observation.status.active_state
            process = process_of(observation.status)
            found[_object_name(name)] = SeenUnit(state, observation.uid, observation.generation, process)
        return found

    def _changed(self, name: str) -> None:
        observation = self._manager.observation(name)
        if observation.installed:
            self._installed(observation.uid, observation.generation)
        before_pid, before_uid = self._running.get(name, (0, ""))
        pid = observation.status.main_pid
        if pid == before_pid:
            if pid and observation.uid != before_uid and observation.status.active_state == "active":
                self._running[name] = pid, observation.uid
                text = f"{_object_name(name)} goes on as {observation.uid}; its process was started for {before_uid}"
                self._inherited(DaemonError(self._host.world.now_ns, self._host.name, text))
            return
        if before_pid:
            self._add(name, before_uid, running=False)
        if pid:
            self._running[name] = pid, observation.uid
            self._add(name, observation.uid, running=True)

    def _lost(self, _: SimHost) -> None:
        for name, (_pid, uid) in list(self._running.items()):
            self._add(name, uid, running=False)
        self._manager.on_change(self._changed)  # a power loss takes the listeners too

    def _add(self, name: str, uid: str, *, running: bool) -> None:
        if not running:
            del self._running[name]
        at_ns = self._host.world.now_ns
        self._note(Transition(at_ns=at_ns, node=self._host.name, unit=_object_name(name), uid=uid, running=running))


def _object_name(unit: str) -> str:
    parsed = parse_unit_name(unit)
    return f"{parsed[0]}/{parsed[1]}" if parsed else unit
