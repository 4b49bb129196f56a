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
from rube.controllers.systemd.drivers.supervisor.slots import Slots
from rube.controllers.systemd.render import digest_of
from rube.controllers.systemd.validate import validate_unit
from rube.host import Host

_LOG = logging.getLogger("rube.controllers")
POLL_S = 0.1
SCAN_POLLS = 20
"""Every so many polls lost shims are looked for: one that is killed writes nothing."""
ANSWER_POLL_S = 0.005
HUNG_S = 15.0
"""A shim that takes no request for so long hangs, and is killed."""
STOP_WAIT_S = 1.0
"""A removal waits so long for the unit to be down; after that it is under way."""
LAUNCHES_MAX = 8
"""Shims that are started at the same time."""
LAUNCHES_PER_REQUEST_MAX = 3

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
        self._launches = Slots(LAUNCHES_MAX)
        self._busy: set[str] = set()  # under an action, which looks after the shim itself
        self._errors: dict[str, str] = {}  # why a lost shim could not be replaced

    async def list(self) -> Sequence[str]:
        return sorted(name for name, _ in self._units())

    async def observe(self, name: str) -> AnyProto:
        directory = self.directory_of(name)
        unit, state = files.read_json(directory, files.UNIT), self._state_of_this_boot(directory)
        return pack_observation(observe(unit, state, self._host.name, self._errors.get(name, "")))

    async def apply(self, action: controller_pb2.Action) -> bool:
        """Carries the action out once per id. A removal is under way, and True, as long as the unit is not down."""
        unit_action = unpack_action(action)
        directory = self.directory_of(unit_action.unit)
        if self._last_action(directory) == action.id:
            return False
        self._busy.add(unit_action.unit)
        try:
            with disk_errors(f"cannot supervise {unit_action.unit}"):
                if unit_action.WhichOneof("action") == "remove":
                    return not await self._remove(directory, action.id)
                await self._ensure(unit_action.unit, directory, action.id, unit_action.ensure)
                return False
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
        async with self._launches.take():
            if name in self._busy or not self._is_lost(name):
                return
            _LOG.warning("%s has lost its supervisor process: a new one takes over", name)
            try:
                await shims.launch(self.directory_of(name), self._host.clock)
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

    async def _remove(self, directory: str, action_id: str) -> bool:
        """Stops the unit and removes it once it is down; whether that is done. Waits for no more than a quick stop."""
        if files.read_json(directory, files.UNIT) is None:
            shutil.rmtree(directory, ignore_errors=True)
            return True
        await self._request(directory, action_id, "stop")
        try:
            async with self._host.clock.timeout(STOP_WAIT_S):
                while not self._is_over(state := self._state_of_this_boot(directory)):
                    if shims.is_lost(state):
                        await self._launch(directory)
                    await self._host.clock.sleep(ANSWER_POLL_S * 4)
        except TimeoutError:
            return False
        os.replace(os.path.join(directory, files.UNIT), os.path.join(directory, f"{files.UNIT}.removed"))
        shutil.rmtree(directory)
        return True

    @staticmethod
    def _is_over(state: dict[str, Any]) -> bool:
        return files.rests(state) and not shims.is_alive(state)

    async def _request(self, directory: str, action_id: str, verb: str) -> None:
        """Asks the shim and returns when it has taken the request. A shim is started where one is needed.

        One that is alive and answers nothing for HUNG_S, because a file of its unit hangs, is killed, and the next one
        takes its place. Raises DeadlineExceededError if that does not help either.
        """
        files.write_json(directory, files.REQUEST, {"id": action_id, "verb": verb})
        if await self._is_taken(directory, action_id, verb):
            return
        shims.kill(self._state_of_this_boot(directory))
        _LOG.warning("%s: its supervisor process hangs and was killed", os.path.basename(directory))
        if not await self._is_taken(directory, action_id, verb):
            raise DeadlineExceededError(
                f"the supervisor of {os.path.basename(directory)} does not answer: see {directory}/{files.SHIM_LOG}"
            )

    async def _is_taken(self, directory: str, action_id: str, verb: str) -> bool:
        """Whether a shim takes the request in time; starts one where one is needed."""
        for _ in range(LAUNCHES_PER_REQUEST_MAX):
            taken = await self._answer(directory, action_id, verb)
            if taken is not None:
                return taken
            try:
                await self._launch(directory)
            except DeadlineExceededError:
                return False
        return False

    async def _answer(self, directory: str, action_id: str, verb: str) -> bool | None:
        """Whether the shim takes the request within HUNG_S; None: there is no shim to ask."""
        try:
            async with self._host.clock.timeout(HUNG_S):
                while True:
                    state = self._state_of_this_boot(directory)
                    if state.get("request_id") == action_id and not state["loading"]:
                        return True
                    if shims.is_alive(state):
                        shims.poke(state)
                        await self._host.clock.sleep(ANSWER_POLL_S)
                    elif verb == "stop" and files.rests(state):
                        return True
                    else:
                        return None
        except TimeoutError:
            return False

    async def _launch(self, directory: str) -> None:
        """Starts a shim, a few at the same time; one that is slow to start does not hold up the others."""
        async with self._launches.take():
            await shims.launch(directory, self._host.clock)

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
