"""SupervisorDriver: writes definitions and requests for the shims, starts shims, reads what they say."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess  # noqa: TID251 (an adapter)
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from google.protobuf.any_pb2 import Any as AnyProto

from rube.api import controller_pb2
from rube.api.errors import DeadlineExceededError, FailedPreconditionError, InvalidArgumentError, UnavailableError
from rube.api.systemd_pb2 import UnitAction, UnitObservation, UnitStatus
from rube.controllers.systemd.drivers.actions import pack_observation, unpack_action
from rube.controllers.systemd.drivers.disk import disk_errors
from rube.controllers.systemd.drivers.supervisor import files, processes
from rube.controllers.systemd.drivers.supervisor.plan import plan_of
from rube.controllers.systemd.render import digest_of
from rube.controllers.systemd.service.states import ACTIVE_STATES, RESTING, State
from rube.controllers.systemd.validate import validate_unit
from rube.host import Host

POLL_S = 0.1
SCAN_POLLS = 20
"""Every so many polls also the living are counted: a shim that is killed writes nothing."""
ANSWER_S_MAX = 5.0
ANSWER_POLL_S = 0.005
LAUNCH_S_MAX = 10.0
REMOVE_S_MAX = 200.0
EXIT_LOCKED = 75
"""What a shim ends with that finds another one alive (EX_TEMPFAIL)."""
LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launch.py")

_RUNS = {
    UnitAction.Ensure.START: "start",
    UnitAction.Ensure.RESTART: "restart",
    UnitAction.Ensure.STOP: "stop",
}


class SupervisorDriver:
    """rube.controllers.driver.Driver for machines without systemd.

    All of it is on disk under `directory`: a new driver on the same directory, in a new process, goes on with the
    units that run. One driver at a time.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._directory = os.path.join(os.path.abspath(directory), "units")
        self._boot_id = processes.boot_id()

    async def list(self) -> Sequence[str]:
        return sorted(name for name, _ in self._units())

    async def observe(self, name: str) -> AnyProto:
        return pack_observation(self._observe(name))

    async def apply(self, action: controller_pb2.Action) -> None:
        """Carries the action out once per id. A remove returns when the unit is down and its directory gone."""
        unit_action = unpack_action(action)
        directory = self._path(unit_action.unit)
        if self._last_action(directory) == action.id:
            return
        with disk_errors(f"cannot supervise {unit_action.unit}"):
            if unit_action.WhichOneof("action") == "remove":
                await self._remove(directory, action.id)
            else:
                await self._ensure(unit_action.unit, directory, action.id, unit_action.ensure)

    async def changes(self) -> AsyncIterator[str]:
        """Looks every POLL_S at the files' times; at first all units may have changed."""
        stamps: dict[str, object] = {}
        alive: dict[str, bool] = {}
        polls = 0
        while True:
            now = dict(self._units())
            changed = {name for name in now.keys() | stamps.keys() if now.get(name) != stamps.get(name)}
            stamps = now
            if polls % SCAN_POLLS == 0:
                living = {name: _shim_alive(self._state_of_this_boot(self._path(name))) for name in now}
                changed |= {name for name in living if not living[name] and alive.get(name)}
                alive = living
            for name in sorted(changed):
                yield name
            polls += 1
            await self._host.clock.sleep(POLL_S)

    async def close(self) -> None:
        """Nothing to let go of: the shims are nobody's children."""

    # Actions

    async def _ensure(self, name: str, directory: str, action_id: str, ensure: UnitAction.Ensure) -> None:
        validate_unit(ensure.spec)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        unit = {
            "uid": ensure.uid,
            "generation": ensure.generation,
            "digest": digest_of(ensure.spec),
            "enabled": ensure.spec.enabled,
            "plan": plan_of(name, ensure.spec, node=self._host.name),
            "action_id": self._last_action(directory),
        }
        files.write_json(directory, files.UNIT, unit)
        verb = _RUNS.get(ensure.run)
        if verb is not None:
            await self._request(directory, action_id, verb)
        # Last, because an action that was cut off is carried out again.
        files.write_json(directory, files.UNIT, {**unit, "action_id": action_id}, durable=True)

    def _last_action(self, directory: str) -> str:
        unit = files.read_json(directory, files.UNIT) or {}
        return str(unit.get("action_id", ""))

    async def _remove(self, directory: str, action_id: str) -> None:
        if files.read_json(directory, files.UNIT) is None:
            shutil.rmtree(directory, ignore_errors=True)
            return
        await self._request(directory, action_id, "stop")
        try:
            async with self._host.clock.timeout(REMOVE_S_MAX):
                while _shim_alive(self._state_of_this_boot(directory)):
                    await self._host.clock.sleep(ANSWER_POLL_S * 4)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"{os.path.basename(directory)} has not stopped after {REMOVE_S_MAX:.0f} s: see its processes, retry"
            ) from error
        os.replace(os.path.join(directory, files.UNIT), os.path.join(directory, f"{files.UNIT}.removed"))
        shutil.rmtree(directory)

    async def _request(self, directory: str, action_id: str, verb: str) -> None:
        """Asks the shim and returns when it has taken the request. A shim is started where one is needed."""
        files.write_json(directory, files.REQUEST, {"id": action_id, "verb": verb})
        try:
            async with self._host.clock.timeout(ANSWER_S_MAX + LAUNCH_S_MAX):
                while True:
                    state = self._state_of_this_boot(directory)
                    if state.get("request_id") == action_id:
                        return
                    if _shim_alive(state):
                        _poke(state)
                        await self._host.clock.sleep(ANSWER_POLL_S)
                    elif verb == "stop" and _rests(state):
                        return
                    else:
                        await self._launch(directory)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the supervisor of {os.path.basename(directory)} does not answer: see {directory}/{files.SHIM_LOG}"
            ) from error

    async def _launch(self, directory: str) -> None:
        """Starts a shim, which takes the request that is waiting, and returns once it has detached."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", LAUNCHER, directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"cannot start a supervisor process: {error}") from error
        code = await process.wait()
        if code not in (0, EXIT_LOCKED):
            raise FailedPreconditionError(
                f"the supervisor of {os.path.basename(directory)} ended with status {code}: "
                f"see {directory}/{files.SHIM_LOG}"
            )

    # Observations

    def _observe(self, name: str) -> UnitObservation:
        directory = self._path(name)
        unit = files.read_json(directory, files.UNIT)
        if unit is None:
            status = UnitStatus(load_state="not-found", active_state="inactive", sub_state="dead", node=self._host.name)
            return UnitObservation(status=status)
        status = UnitStatus(
            load_state="loaded",
            active_state="inactive",
            sub_state="dead",
            result="success",
            unit_file_state="enabled" if unit["enabled"] else "disabled",
            observed_generation=unit["generation"],
            node=self._host.name,
        )
        ignored = ", ".join(unit["plan"]["unsupported"])
        state = self._state_of_this_boot(directory)
        said = self._fill(status, state) if state else ""
        status.message = "; ".join(filter(None, (said, f"no effect without systemd: {ignored}" if ignored else "")))
        return UnitObservation(
            installed=True,
            uid=unit["uid"],
            generation=unit["generation"],
            digest=unit["digest"],
            status=status,
            last_action_id=unit["action_id"],
        )

    def _fill(self, status: UnitStatus, state: dict[str, Any]) -> str:
        """Takes over what the shim wrote, and gives its message."""
        machine = State(state["state"])
        status.active_state, status.sub_state = ACTIVE_STATES[machine], machine.value
        status.result = state["result"]
        status.main_pid = state["main_pid"]
        if state["exit"]:
            status.exit_code, status.exit_status = state["exit"]
        status.restarts = state["restarts"]
        if state["active_ns"]:
            status.active_time.FromNanoseconds(state["active_ns"])
        if machine in RESTING or _shim_alive(state):
            return str(state["message"])
        status.active_state = status.sub_state = "failed"
        status.result, status.main_pid = "resources", 0
        return f"its supervisor process {state['shim'][0]} is gone: what it left is killed at the next start"

    def _units(self) -> Iterator[tuple[str, object]]:
        """The installed units, each with a stamp that is another one after every change of its files."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return
        for name in names:
            directory = os.path.join(self._directory, name)
            stamp = tuple(_stamp(directory, file) for file in (files.UNIT, files.STATE))
            if stamp[0] is not None:
                yield name, stamp

    def _path(self, name: str) -> str:
        if "/" in name or name in ("", ".", ".."):
            raise InvalidArgumentError(f"{name!r} is no unit's name", field="unit")
        return os.path.join(self._directory, name)

    def _state_of_this_boot(self, directory: str) -> dict[str, Any]:
        """What the shim wrote since the machine started; empty if nothing."""
        state = files.read_json(directory, files.STATE)
        return state if state is not None and state["boot_id"] == self._boot_id else {}


def _shim_alive(state: dict[str, Any]) -> bool:
    if not state:
        return False
    pid, started = state["shim"]
    return bool(processes.start_time(pid) == started)


def _rests(state: dict[str, Any]) -> bool:
    return not state or State(state["state"]) in RESTING


def _poke(state: dict[str, Any]) -> None:
    """Tells the shim to look at its request; through a pidfd, so that no other process is ever hit."""
    pid, started = state["shim"]
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if processes.start_time(pid) == started:
            signal.pidfd_send_signal(handle, signal.SIGUSR1)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _stamp(directory: str, name: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(os.path.join(directory, name))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
