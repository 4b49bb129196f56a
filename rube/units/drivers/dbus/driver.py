"""DbusDriver: writes unit files and has systemd run them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.any_pb2 import Any as AnyProto

from rube.api import Action, LogsRequest, LogsResponse, UnitAction, UnitObservation, UnitStatus
from rube.api.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    RubeError,
)
from rube.host import Host
from rube.units.drivers.actions import pack_observation, unpack_action
from rube.units.drivers.dbus.bus import SystemdBus, unescape
from rube.units.drivers.dbus.journal import Journal
from rube.units.drivers.dbus.loading import load_problem, refusal
from rube.units.drivers.dbus.log_tails import LogTails
from rube.units.drivers.dbus.reasons import reason_of
from rube.units.drivers.dbus.unit_files import UnitFiles
from rube.units.drivers.log_lines import has_failed
from rube.units.render import BOOT_TARGET, render_unit
from rube.units.validate import validate_unit

if TYPE_CHECKING:
    from dbus_fast import Message

RESYNC_S = 10.0
"""Signals get lost (https://github.com/systemd/systemd/issues/2202): this often all units are looked at."""
RECONNECT_S = 1.0
JOB_S_MAX = 5.0
JOB_POLL_S = 0.25
STOP_WAIT_S = 1.0
"""A removal waits so long for the unit to be down; after that it is under way."""
NOBODY = "-"
"""No unit's name."""
_DOWN = ("inactive", "failed")
# What systemd answers to calls about a unit whose definition it cannot read, or does not have.
_UNREADABLE = (NotFoundError, FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError)
_SERVICE_PROPERTIES = ("Result", "MainPID", "ExecMainCode", "ExecMainStatus", "NRestarts")
_RUNS = {
    UnitAction.Ensure.START: "StartUnit",
    UnitAction.Ensure.RESTART: "RestartUnit",
    UnitAction.Ensure.STOP: "StopUnit",
}
# What a job's result says that the unit's state does not.
_JOB_ERRORS = {
    "dependency": "a unit that it requires did not start",
    "canceled": "another request to systemd took the place of this one",
    "collected": "systemd dropped the job",
    "assert": "an assertion of its definition is not met",
    "unsupported": "this kind of unit is not supported on this machine",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DbusConfig:
    """The place of systemd. By default the machine's own system manager."""

    unit_directory: str = "/etc/systemd/system"
    state_directory: str = "/var/lib/rube/units"
    bus_address: str | None = None
    """Such as `unix:path=/run/user/1000/bus`; None: the system bus."""
    boot_target: str = BOOT_TARGET
    """The target that wants enabled units which don't name one; `default.target` for a user's manager."""
    journalctl: Sequence[str] = ("journalctl",)
    """The command that reads the journal: a user's manager needs `--user`."""


class DbusDriver:
    """The rube.controllers.driver.Driver on systemd. It knows its own units by the marker in the unit files."""

    def __init__(self, host: Host, config: DbusConfig | None = None) -> None:
        self._host = host
        self._config = config or DbusConfig()
        self._bus = SystemdBus(host.clock, self._config.bus_address)
        self._files = UnitFiles(self._config.unit_directory, self._config.state_directory)
        self._tails = LogTails(Journal(self._config.journalctl, host.clock))
        self._reloads_begun = 0
        self._reloading = asyncio.Lock()
        self._held: set[str] = set()
        self._errors: dict[str, str] = {}
        self._bus.listen(self._forget_held)

    async def list(self) -> Sequence[str]:
        return self._files.names()

    async def observe(self, name: str) -> AnyProto:
        return pack_observation(await self._observe(name))

    async def apply(self, action: Action) -> bool:
        """Carries the action out once per id. It returns when its job is done or has taken JOB_S_MAX.

        A removal is under way, and returns True, as long as the unit is not down.
        """
        unit_action = unpack_action(action)
        name = unit_action.unit
        if self._files.last_action(name) == action.id:
            return False
        if unit_action.WhichOneof("action") == "remove":
            if not await self._remove(name):
                return True
            self._errors.pop(name, None)
            self._files.note_action(name, "")
        else:
            await self._ensure(name, unit_action.ensure)
            self._files.note_action(name, action.id)
        return False

    async def changes(self) -> AsyncIterator[str]:
        """Yields the units that systemd's signals name, and all units at first, every RESYNC_S, after reloads and
        reconnects."""
        heard: set[str] = set()
        wake = asyncio.Event()

        def tell(name: str) -> None:
            heard.add(name)
            wake.set()

        def listener(message: Message | None) -> None:
            tell(_named_by(message))

        forget = self._bus.listen(listener)
        self._tails.listen(tell)
        known: set[str] = set()
        heard.add("")
        try:
            while True:
                wake.clear()
                names = set(self._files.names())
                told = names | known if "" in heard else heard & (names | known)
                known = names
                heard.clear()
                for name in sorted(told):
                    yield name
                try:
                    await self._bus.connect()
                    async with self._host.clock.timeout(RESYNC_S):
                        await wake.wait()
                except TimeoutError:
                    heard.add("")
                except RubeError:
                    heard.add("")
                    await self._host.clock.sleep(RECONNECT_S)
        finally:
            forget()

    def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        return self._tails.journal.read(name, request)

    async def close(self) -> None:
        await self._tails.close()
        await self._bus.close()

    # Actions

    async def _ensure(self, name: str, ensure: UnitAction.Ensure) -> None:
        spec = ensure.spec
        validate_unit(spec)
        text = render_unit(spec, uid=ensure.uid, generation=ensure.generation, boot_target=self._config.boot_target)
        await self._install(name, text, enabled=spec.enabled)
        await self._hold(name)
        if method := _RUNS.get(ensure.run):
            await self._run(method, name)

    async def _install(self, name: str, text: str, *, enabled: bool) -> None:
        """Writes the definition and has systemd load it. Raises FailedPreconditionError if systemd can't."""
        stale = self._files.write(name, text)
        refused: RubeError | None = None
        try:
            stale |= await self._enable(name, enabled=enabled)
        except (FailedPreconditionError, InvalidArgumentError, ResourceExhaustedError) as error:
            stale, refused = True, error
        unit = await self._bus.properties(name, "Unit")
        if stale or unit["NeedDaemonReload"]:
            await self._reload()
            unit = await self._bus.properties(name, "Unit")
        if problem := load_problem(unit):
            raise FailedPreconditionError(f"{name}: {problem}") from refused
        if refused is not None:
            raise refusal(name, unit, refused) from refused

    async def _enable(self, name: str, *, enabled: bool) -> bool:
        """Sets the enablement; returns whether that changed anything on disk."""
        try:
            (state,) = await self._bus.manager("GetUnitFileState", "s", name)
        except NotFoundError:
            state = ""
        if enabled == (state == "enabled"):
            return False
        if enabled:
            await self._bus.manager("EnableUnitFiles", "asbb", [name], False, True)
        else:
            await self._bus.manager("DisableUnitFiles", "asb", [name], False)
        return True

    async def _reload(self) -> None:
        """Returns after a daemon-reload that began after the call. Callers at the same time share one."""
        wanted = self._reloads_begun + 1
        async with self._reloading:
            if self._reloads_begun < wanted:
                self._reloads_begun += 1
                await self._bus.manager("Reload")

    async def _hold(self, name: str) -> None:
        """Keeps systemd from unloading the unit when it is down, and with it how it ended."""
        if name not in self._held:
            await self._bus.manager("RefUnit", "s", name)
            self._held.add(name)

    def _forget_held(self, message: Message | None) -> None:
        if message is None:
            self._held.clear()

    async def _run(self, method: str, name: str, *, wait_s: float = JOB_S_MAX) -> None:
        if method != "StopUnit":  # the start limit is for the restarts of its own policy
            with suppress(NotFoundError):  # not loaded, and so never started
                await self._bus.manager("ResetFailedUnit", "s", name)
        done = asyncio.Event()
        jobs: dict[str, str] = {}

        def listener(message: Message | None) -> None:
            if message is not None and message.member == "JobRemoved":
                jobs[message.body[1]] = message.body[3]
                done.set()

        forget = self._bus.listen(listener)
        try:
            (job,) = await self._bus.manager(method, "ss", name, "replace")
            await self._wait_for(job, jobs, done, name, wait_s)
        finally:
            forget()
        self._errors[name] = _JOB_ERRORS.get(jobs.get(job, ""), "")

    async def _wait_for(
        self, job: str, removed: Mapping[str, str], done: asyncio.Event, name: str, wait_s: float
    ) -> None:
        """Waits until the job is gone: by its signal, or by the unit's state, since signals get lost."""
        try:
            async with self._host.clock.timeout(wait_s):
                while job not in removed:
                    done.clear()
                    try:
                        async with self._host.clock.timeout(JOB_POLL_S):
                            await done.wait()
                    except TimeoutError:
                        if (await self._bus.properties(name, "Unit"))["Job"][0] == 0:
                            return
        except TimeoutError:
            return  # under way: observe() shows the progress

    async def _remove(self, name: str) -> bool:
        """Stops the unit and removes it once it is down; returns whether that is done. Waits for no more than a quick
        stop."""
        if self._files.marker(name) is None and not self._files.last_action(name):
            return True
        if await self._active_state(name) not in _DOWN:
            await self._run("StopUnit", name, wait_s=STOP_WAIT_S)
            if await self._active_state(name) not in _DOWN:
                return False
        # From here on nothing depends on whether systemd can read the definition.
        with suppress(*_UNREADABLE):
            await self._enable(name, enabled=False)
        self._files.remove(name)
        with suppress(*_UNREADABLE):
            await self._bus.manager("ResetFailedUnit", "s", name)
        if name in self._held:
            self._held.discard(name)
            with suppress(*_UNREADABLE):
                await self._bus.manager("UnrefUnit", "s", name)
        await self._reload()
        return True

    async def _active_state(self, name: str) -> str:
        return str(await self._bus.property(name, "Unit", "ActiveState"))

    # Observations

    async def _observe(self, name: str) -> UnitObservation:
        marker = self._files.marker(name)
        unit = await self._bus.properties(name, "Unit")
        if marker is not None and unit["LoadState"] == "loaded":
            await self._hold(name)
        status = UnitStatus(
            load_state=unit["LoadState"],
            active_state=unit["ActiveState"],
            sub_state=unit["SubState"],
            unit_file_state=unit["UnitFileState"],
            node=self._host.name,
        )
        if marker is not None:
            status.message = load_problem(unit)
        reason = ""
        if unit["LoadState"] == "loaded":
            service = await self._service(name)
            _fill(status, unit, service)
            if status.result != "success":
                reason = reason_of(service)
            if marker is not None and has_failed(status):
                invocation = bytes(unit["InvocationID"]).hex()
                status.log_tail.extend(self._tails.of(name, invocation, f"{status.restarts} {status.active_state}"))
            else:
                self._tails.forget(name)
        if marker is None:
            return UnitObservation(status=status)
        status.observed_generation = marker.generation
        return UnitObservation(
            installed=True,
            uid=marker.uid,
            generation=marker.generation,
            digest=marker.digest,
            status=status,
            error=self._errors.get(name, ""),
            last_action_id=self._files.last_action(name),
            reason=reason,
        )

    async def _service(self, name: str) -> Mapping[str, Any]:
        """Returns the service's properties: only those that a status needs if systemd cannot send all of them.

        D-Bus knows text only, and one argument that is none makes systemd refuse to send any of them together.
        """
        try:
            return await self._bus.properties(name, "Service")
        except InvalidArgumentError:
            return {each: await self._bus.property(name, "Service", each) for each in _SERVICE_PROPERTIES}


def _fill(status: UnitStatus, unit: Mapping[str, Any], service: Mapping[str, Any]) -> None:
    status.result = service["Result"]
    status.main_pid = service["MainPID"]
    status.exit_code = service["ExecMainCode"]
    status.exit_status = service["ExecMainStatus"]
    status.restarts = service["NRestarts"]
    if unit["ActiveEnterTimestamp"]:
        status.active_time.FromMicroseconds(unit["ActiveEnterTimestamp"])


def _named_by(message: Message | None) -> str:
    """Returns the unit that a signal is about; empty: it may be any."""
    if message is None or message.member == "UnitFilesChanged":
        return ""
    if message.member == "Reloading":
        return NOBODY if message.body[0] else ""  # it begins, or has ended
    if message.member in ("JobNew", "JobRemoved"):
        return str(message.body[2])
    if message.member in ("UnitNew", "UnitRemoved"):
        return str(message.body[0])
    return unescape(message.path or "") or NOBODY
