"""SupervisorDriver: writes definitions and requests for the shims, starts shims, reads what they say."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from google.protobuf.any_pb2 import Any as AnyProto

from rube.api import controller_pb2
from rube.api.errors import DeadlineExceededError, InvalidArgumentError, RubeError
from rube.api.systemd_pb2 import UnitAction
from rube.controllers.systemd.drivers.actions import pack_observation, unpack_action
from rube.controllers.systemd.drivers.disk import disk_errors
from rube.controllers.systemd.drivers.machine import machine_specifiers
from rube.controllers.systemd.drivers.supervisor import files, processes, shims
from rube.controllers.systemd.drivers.supervisor.observation import observe
from rube.controllers.systemd.drivers.supervisor.plan import plan_of
from rube.controllers.systemd.render import digest_of
from rube.controllers.systemd.validate import validate_unit
from rube.host import Host

_LOG = logging.getLogger("rube.controllers")
POLL_S = 0.1
SCAN_POLLS = 20
"""Every so many polls lost shims are looked for: one that is killed writes nothing."""
ANSWER_S_MAX = 5.0
ANSWER_POLL_S = 0.005
LAUNCH_S_MAX = 10.0
REMOVE_S_MAX = 200.0
LAUNCHES_MAX = 4
"""At the same time, of shims that take over from lost ones."""

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
        self._launches = asyncio.Semaphore(LAUNCHES_MAX)
        self._busy: set[str] = set()  # under an action, which looks after the shim itself
        self._errors: dict[str, str] = {}  # why a lost shim could not be replaced

    async def list(self) -> Sequence[str]:
        return sorted(name for name, _ in self._units())

    async def observe(self, name: str) -> AnyProto:
        directory = self.directory_of(name)
        unit, state = files.read_json(directory, files.UNIT), self._state_of_this_boot(directory)
        return pack_observation(observe(unit, state, self._host.name, self._errors.get(name, "")))

    async def apply(self, action: controller_pb2.Action) -> None:
        """Carries the action out once per id. A remove returns when the unit is down and its directory gone."""
        unit_action = unpack_action(action)
        directory = self.directory_of(unit_action.unit)
        if self._last_action(directory) == action.id:
            return
        self._busy.add(unit_action.unit)
        try:
            with disk_errors(f"cannot supervise {unit_action.unit}"):
                if unit_action.WhichOneof("action") == "remove":
                    await self._remove(directory, action.id)
                else:
                    await self._ensure(unit_action.unit, directory, action.id, unit_action.ensure)
        finally:
            self._busy.discard(unit_action.unit)

    async def changes(self) -> AsyncIterator[str]:
        """Looks every POLL_S at the files' times; at first all units may have changed.

        Now and then, and at first, it looks for lost shims, and has new ones take over their units.
        """
        stamps: dict[str, object] = {}
        polls = 0
        while True:
            changed = await self._take_over() if polls % SCAN_POLLS == 0 else set()
            now = dict(self._units())
            changed |= {name for name in now.keys() | stamps.keys() if now.get(name) != stamps.get(name)}
            stamps = now
            for name in sorted(changed):
                yield name
            polls += 1
            await self._host.clock.sleep(POLL_S)

    async def close(self) -> None:
        """Nothing to let go of: the shims are nobody's children."""

    # Lost shims

    async def _take_over(self) -> set[str]:
        """Starts a shim for each unit that has lost its own, and returns their names once all of them are at work."""
        lost = {name for name, _ in self._units() if name not in self._busy and self._is_lost(name)}
        self._errors = {name: why for name, why in self._errors.items() if name in lost}
        await asyncio.gather(*(self._replace_shim(name) for name in sorted(lost)))
        return lost

    async def _replace_shim(self, name: str) -> None:
        async with self._launches:
            if name in self._busy or not self._is_lost(name):
                return
            _LOG.warning("%s has lost its supervisor process: a new one takes over", name)
            try:
                await shims.launch(self.directory_of(name))
            except RubeError as error:
                _LOG.error("%s", error)
                self._errors[name] = str(error)
            else:
                self._errors.pop(name, None)

    def _is_lost(self, name: str) -> bool:
        return shims.is_lost(self._state_of_this_boot(self.directory_of(name)))

    # Actions

    async def _ensure(self, name: str, directory: str, action_id: str, ensure: UnitAction.Ensure) -> None:
        validate_unit(ensure.spec)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        unit = {
            "uid": ensure.uid,
            "generation": ensure.generation,
            "digest": digest_of(ensure.spec),
            "enabled": ensure.spec.enabled,
            "plan": plan_of(name, ensure.spec, machine=machine_specifiers()),
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
                while not self._is_over(state := self._state_of_this_boot(directory)):
                    if shims.is_lost(state):
                        await shims.launch(directory)
                    await self._host.clock.sleep(ANSWER_POLL_S * 4)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"{os.path.basename(directory)} has not stopped after {REMOVE_S_MAX:.0f} s: see its processes, retry"
            ) from error
        os.replace(os.path.join(directory, files.UNIT), os.path.join(directory, f"{files.UNIT}.removed"))
        shutil.rmtree(directory)

    @staticmethod
    def _is_over(state: dict[str, Any]) -> bool:
        return files.rests(state) and not shims.is_alive(state)

    async def _request(self, directory: str, action_id: str, verb: str) -> None:
        """Asks the shim and returns when it has taken the request. A shim is started where one is needed."""
        files.write_json(directory, files.REQUEST, {"id": action_id, "verb": verb})
        try:
            async with self._host.clock.timeout(ANSWER_S_MAX + LAUNCH_S_MAX):
                while True:
                    state = self._state_of_this_boot(directory)
                    if state.get("request_id") == action_id and not state["loading"]:
                        return
                    if shims.is_alive(state):
                        shims.poke(state)
                        await self._host.clock.sleep(ANSWER_POLL_S)
                    elif verb == "stop" and files.rests(state):
                        return
                    else:
                        await shims.launch(directory)
        except TimeoutError as error:
            raise DeadlineExceededError(
                f"the supervisor of {os.path.basename(directory)} does not answer: see {directory}/{files.SHIM_LOG}"
            ) from error

    # Files

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

    def directory_of(self, name: str) -> str:
        """Where a unit's files are, its log among them (`logs`). Raises InvalidArgumentError for what is no name."""
        if "/" in name or name in ("", ".", ".."):
            raise InvalidArgumentError(f"{name!r} is no unit's name", field="unit")
        return os.path.join(self._directory, name)

    def _state_of_this_boot(self, directory: str) -> dict[str, Any]:
        """What the shim wrote since the machine started; empty if nothing."""
        state = files.read_json(directory, files.STATE)
        return state if state is not None and state["boot_id"] == self._boot_id else {}


def _stamp(directory: str, name: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(os.path.join(directory, name))
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
