"""The simulated service manager of a host, and the driver that reaches it.

Units belong to the host: they go on when the rubelet is killed, pause with the host, and are gone after a power loss,
while their definitions, which are on disk, stay. Each runs the state machine that the real supervisor runs; a
Behaviour says how its processes behave. Enabled units are not started at boot: as with the supervisor, the controller
does that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any as AnyProto

from rube.api import Action, LogLine, LogsRequest, LogsResponse, Unit, UnitAction, UnitObservation, UnitStatus
from rube.api.errors import UnavailableError
from rube.host import Clock
from rube.sim.units.unit import Behaviour, SimUnit
from rube.sim.world.kernel import Death, SimHost, SimProcess, current_process
from rube.units.drivers.actions import pack_observation, unpack_action
from rube.units.drivers.log_lines import has_failed, lines_of, responses, tail_of
from rube.units.drivers.supervisor.plan import plan_of
from rube.units.render import digest_of
from rube.units.service.commandline import parse_commands
from rube.units.service.exit_codes import EXIT_EXEC
from rube.units.service.policy import CLD_DUMPED, CLD_EXITED, CLD_KILLED, Exit, Policy
from rube.units.service.states import RESTING
from rube.units.validate import validate_unit

PROCESS = "service-manager"
SIGSEGV = 11
CALL_S = 0.004
"""How long a call to the service manager takes; systemd's own takes 4 to 5 ms."""

LOG_LINES_MAX = 1_000
"""The newest lines that are kept of each unit."""
LOG_POLL_S = 0.25

Listener = Callable[[str], None]


@dataclass(slots=True)
class _Definition:
    """A unit's definition on the host's disk."""

    uid: str
    generation: int
    digest: str
    unit: Unit = field(default_factory=Unit)


class SimServiceManager:
    """All units of one host. Made once for a host; drivers, of one rubelet after the other, are made on it."""

    def __init__(self, host: SimHost, behaviour: Callable[[str, Unit], Behaviour] | None = None) -> None:
        """`behaviour` returns what a unit's processes do, by its name and definition; by default they run forever."""
        self._host = host
        self._behaviour = behaviour or (lambda name, unit: Behaviour())
        self._overrides: dict[str, Behaviour] = {}
        self._definitions: dict[str, _Definition] = {}
        self._action_ids: dict[str, str] = {}
        self._units: dict[str, SimUnit] = {}
        self._listeners: list[Listener] = []
        self._process: SimProcess | None = None
        self._last_pid = 100
        self._failing = False
        self._random = host.random.stream("service-manager")
        # On the host's disk.
        self._logs: dict[str, deque[LogLine]] = {}
        self._printed: dict[str, int] = {}

    # For scenarios and tests

    def behave(self, name: str, behaviour: Behaviour) -> None:
        """Sets the unit's behaviour from its next start on."""
        self._overrides[name] = behaviour

    def crash(self, name: str, signal: int = SIGSEGV) -> None:
        """The fault: the unit's main process dies of `signal`. Nothing if it does not run."""
        unit = self._units.get(name)
        if unit is not None and unit.main_pid:
            self._host.world.trace.add("fault", "unit-crash", self._host.name, name, signal)
            unit.end_main(Exit(CLD_DUMPED if signal == SIGSEGV else CLD_KILLED, signal))

    def remove_by_hand(self, name: str) -> None:
        """Injects the fault that an operator kills the unit and removes its definition behind Rube's back."""
        if name in self._definitions:
            self._host.world.trace.add("fault", "unit-removed", self._host.name, name)
            self._forget(name)

    def fail_actions(self, *, fails: bool) -> None:
        """The fault: every action of a driver fails, about half of them after they were done; or its end."""
        self._failing = fails

    def draw_failure(self) -> tuple[bool, bool]:
        """Returns whether the next action fails, and whether it is done nevertheless."""
        return self._failing, self._failing and self._random.random() < 0.5

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Calls `listener(name)` whenever a unit may have changed, until the returned function is called."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def log(self, name: str, after: int) -> tuple[list[LogLine], int]:
        """Returns the unit's output after so many lines, as far as it is kept, and the number of all its lines."""
        kept, printed = self._logs.get(name, ()), self._printed.get(name, 0)
        return list(kept)[max(0, len(kept) - max(0, printed - after)) :], printed

    def names(self) -> Sequence[str]:
        """The installed units, sorted."""
        return sorted(self._definitions)

    def observation(self, name: str) -> UnitObservation:
        """Returns the present state of the unit."""
        definition = self._definitions.get(name)
        status = UnitStatus(load_state="not-found", active_state="inactive", sub_state="dead", node=self._host.name)
        if definition is None:
            return UnitObservation(status=status, last_action_id=self._action_ids.get(name, ""))
        status.load_state, status.result = "loaded", "success"
        status.unit_file_state = "enabled" if definition.unit.enabled else "disabled"
        status.observed_generation = definition.generation
        if (unit := self._units.get(name)) is not None:
            unit.fill(status)
        if has_failed(status):
            status.log_tail.extend(tail_of([line.text for line in self._logs.get(name, ())]))
        reason = ""
        if status.result != "success" and status.exit_code == CLD_EXITED and status.exit_status == EXIT_EXEC:
            (command, *_) = parse_commands(definition.unit.service.exec.start[0])
            reason = f"exec.start: {command.program}: no such file"
        return UnitObservation(
            installed=True,
            uid=definition.uid,
            generation=definition.generation,
            digest=definition.digest,
            status=status,
            last_action_id=self._action_ids.get(name, ""),
            reason=reason,
        )

    # For the driver

    def is_done(self, name: str, action_id: str) -> bool:
        return self._action_ids.get(name) == action_id

    def ensure(self, name: str, action_id: str, ensure: UnitAction.Ensure) -> None:
        """Installs the definition and starts, restarts or stops the unit."""
        definition = _Definition(ensure.uid, ensure.generation, digest_of(ensure.spec))
        definition.unit.CopyFrom(ensure.spec)
        self._definitions[name] = definition
        self._action_ids[name] = action_id
        if ensure.run != UnitAction.Ensure.KEEP:
            unit = self._units.get(name) or self._make(name)
            {
                UnitAction.Ensure.START: unit.start,
                UnitAction.Ensure.RESTART: unit.restart,
                UnitAction.Ensure.STOP: unit.stop,
            }[ensure.run]()
        self._changed(name)

    def stop(self, name: str) -> bool:
        """Asks the unit to stop; whether it is down."""
        unit = self._units.get(name)
        if unit is None or unit.machine.state in RESTING:
            return True
        unit.stop()
        return unit.machine.state in RESTING

    def remove(self, name: str, action_id: str) -> None:
        """Removes the rest of a unit that is down."""
        if name in self._definitions:
            self._forget(name)
            self._action_ids.pop(name, None)

    # Inside

    def _forget(self, name: str) -> None:
        del self._definitions[name]
        unit = self._units.pop(name, None)
        if unit is not None:
            unit.vanish()
        self._logs.pop(name, None)
        self._host.world.trace.add("unit", self._host.name, name, "removed")
        self._changed(name)

    def _make(self, name: str) -> SimUnit:
        unit = SimUnit(
            name=name,
            process=self._running_process(),
            load=lambda: self._load(name),
            new_pid=self._new_pid,
            changed=self._changed,
            printed=self._print,
        )
        self._units[name] = unit
        return unit

    def _load(self, name: str) -> tuple[Policy, Behaviour]:
        definition = self._definitions[name].unit
        policy = plan_of(name, definition, machine={"H": self._host.name}).policy
        return policy, self._overrides.get(name) or self._behaviour(name, definition)

    def _new_pid(self) -> int:
        self._last_pid += 1
        return self._last_pid

    def _running_process(self) -> SimProcess:
        """The process that all timers of this host's units belong to, so that they share its fate."""
        if self._process is None or not self._process.alive:
            self._process = self._host.spawn(PROCESS, _forever)
            self._process.on_death(self._lose)
        return self._process

    def _lose(self, process: SimProcess, death: Death) -> None:
        self._units.clear()
        self._listeners.clear()

    def _print(self, name: str, text: str) -> None:
        line = LogLine(text=text)
        line.time.FromNanoseconds(self._host.clock.now_ns())
        self._logs.setdefault(name, deque(maxlen=LOG_LINES_MAX)).append(line)
        self._printed[name] = self._printed.get(name, 0) + 1

    def _changed(self, name: str) -> None:
        for listener in tuple(self._listeners):
            listener(name)


def _note_nothing(action_id: str, action: UnitAction) -> None:
    """Does nothing, for callers that need no notes."""


class SimServiceDriver:
    """rube.controllers.driver.Driver on a SimServiceManager; `clock` is the rubelet's."""

    def __init__(
        self, clock: Clock, manager: SimServiceManager, note: Callable[[str, UnitAction], None] = _note_nothing
    ) -> None:
        """`note` is called with each action that is asked for: its id, and the action."""
        self._clock = clock
        self._manager = manager
        self._note = note

    async def list(self) -> Sequence[str]:
        await self._clock.sleep(CALL_S)
        return self._manager.names()

    async def observe(self, name: str) -> AnyProto:
        await self._clock.sleep(0)
        return pack_observation(self._manager.observation(name))

    async def apply(self, action: Action) -> bool:
        unit_action = unpack_action(action)
        name = unit_action.unit
        self._note(action.id, unit_action)
        await self._clock.sleep(CALL_S)
        fails, is_done = self._manager.draw_failure()
        under_way = False if fails and not is_done else self._do(name, action.id, unit_action)
        if fails:
            raise UnavailableError("the service manager gives no answer")
        return under_way

    def _do(self, name: str, action_id: str, unit_action: UnitAction) -> bool:
        """Returns whether it is still under way."""
        if self._manager.is_done(name, action_id):
            return False
        if unit_action.WhichOneof("action") == "ensure":
            validate_unit(unit_action.ensure.spec)
            self._manager.ensure(name, action_id, unit_action.ensure)
        elif self._manager.stop(name):
            self._manager.remove(name, action_id)
        else:
            return True
        return False

    async def changes(self) -> AsyncIterator[str]:
        """Yields at first all units, then those that the manager reports as changed; each once, however often."""
        changed: dict[str, None] = dict.fromkeys(self._manager.names())
        wake = asyncio.Event()

        def listener(name: str) -> None:
            changed[name] = None
            wake.set()

        forget = self._manager.on_change(listener)
        current_process().on_death(lambda process, death: forget())
        try:
            while True:
                wake.clear()
                for name in sorted(changed):
                    del changed[name]
                    yield name
                await wake.wait()
        finally:
            forget()

    async def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        yield LogsResponse()
        lines, printed = self._manager.log(name, 0)
        if request.HasField("since"):
            oldest_ns = self._clock.now_ns() - request.since.ToNanoseconds()
            lines = [line for line in lines if line.time.ToNanoseconds() >= oldest_ns]
        lines = lines[len(lines) - min(len(lines), lines_of(request)) :]
        while True:
            for response in responses(lines):
                yield response
            if not request.follow:
                return
            await self._clock.sleep(LOG_POLL_S)
            before = printed
            lines, printed = self._manager.log(name, before)
            if printed - before > len(lines):
                yield LogsResponse(gaps=1)

    async def close(self) -> None:
        """Does nothing: there are no resources."""


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
