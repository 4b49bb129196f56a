"""SupervisorDriver: writes definitions and requests for the shims, starts shims, reads their records."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from google.protobuf.any_pb2 import Any as AnyProto

from rube.api import Action, LogsRequest, LogsResponse, UnitAction
from rube.api.errors import (
    DeadlineExceededError,
    FailedPreconditionError,
    InvalidArgumentError,
    RubeError,
    UnavailableError,
)
from rube.host import Host
from rube.units.boot import boot_identity
from rube.units.drivers.actions import pack_observation, unpack_action
from rube.units.drivers.disk import disk_errors
from rube.units.drivers.log_lines import has_failed
from rube.units.drivers.machine import machine_specifiers
from rube.units.drivers.supervisor import files, observation, presence, shims
from rube.units.drivers.supervisor.files import FileError
from rube.units.drivers.supervisor.leftovers import kill_all, kill_leftovers
from rube.units.drivers.supervisor.plan import missing_sandbox, plan_of
from rube.units.drivers.supervisor.records import RequestRecord, StateRecord, UnitRecord
from rube.units.drivers.supervisor.slots import Slots
from rube.units.drivers.supervisor.unit_logs import read_logs, read_tail
from rube.units.drivers.supervisor.watching import UnitsWatch
from rube.units.render import digest_of
from rube.units.validate import validate_unit

_LOG = logging.getLogger("rube.controllers")
ANSWER_POLL_S = 0.005
HUNG_S = 15.0
"""A shim that takes no request for so long hangs, and is killed."""
STOP_WAIT_S = 1.0
"""A removal waits so long for the unit to be down; after that it is under way."""
RESTORE_S_MAX = 2.0
"""Until a shim has written its files again that vanished."""
LAUNCHES_MAX = 8
"""Shims that are started at the same time."""
LAUNCHES_PER_REQUEST_MAX = 3
RETRY_S = 2.0
"""Between two attempts to replace lost shims."""

_RUNS = {
    UnitAction.Ensure.START: "start",
    UnitAction.Ensure.RESTART: "restart",
    UnitAction.Ensure.STOP: "stop",
}
_RECORDS = (UnitRecord.NAME, RequestRecord.NAME, StateRecord.NAME, files.LOCK)


class SupervisorDriver:
    """The rube.controllers.driver.Driver for machines without systemd.

    All of its state is on disk under `directory`: a new driver on the same directory, in a new process, goes on with
    the running units. If the files were removed, the processes show them. One driver at a
    time.
    """

    def __init__(self, host: Host, directory: str) -> None:
        self._host = host
        self._directory = os.path.join(os.path.realpath(directory), "units")
        self._boot_id = boot_identity()
        self._launches = Slots(LAUNCHES_MAX)
        self._busy: set[str] = set()  # under an action, which manages the shim itself
        self._errors: dict[str, str] = {}  # the reason why a lost shim could not be replaced
        self._strays: set[str] = set()  # units with processes that no file knows
        self._removed: set[str] = set()  # removed by this driver, with all their processes

    async def list(self) -> Sequence[str]:
        """Returns units by their files, and by their processes if the files have vanished."""
        with disk_errors("cannot list the units"):
            return sorted(self._known() | await self._find_by_processes())

    async def observe(self, name: str) -> AnyProto:
        directory = self.directory_of(name)
        with disk_errors(f"cannot look at {name}"):
            return await self._observe(name, directory)

    async def _observe(self, name: str, directory: str) -> AnyProto:
        seen = self._look(directory)
        if seen.lacks:
            seen = await self._restored(name, directory, seen)
        if seen.newer:
            raise FailedPreconditionError(seen.why)
        if not (seen.alive or name in self._strays or _has_records(directory)):
            return pack_observation(observation.absent(self._host.name))
        error = self._errors.get(name, "")
        if name in self._strays and not seen.alive:
            error = f"processes of the unit run, and its files in {directory} have been removed"
        observed = observation.observe(seen, self._host.name, error)
        if has_failed(observed.status):
            observed.status.log_tail.extend(read_tail(directory))
        return pack_observation(observed)

    async def apply(self, action: Action) -> bool:
        """Carries the action out once per id. A removal is under way, and True, as long as the unit is not down."""
        unit_action = unpack_action(action)
        directory = self.directory_of(unit_action.unit)
        if self._last_action(directory) == action.id:
            return False
        self._busy.add(unit_action.unit)
        try:
            with disk_errors(f"cannot supervise {unit_action.unit}"):
                if unit_action.WhichOneof("action") == "remove":
                    return not await self._remove(unit_action.unit, directory, action.id)
                await self._ensure(unit_action.unit, directory, action.id, unit_action.ensure)
                return False
        finally:
            self._busy.discard(unit_action.unit)

    async def changes(self) -> AsyncIterator[str]:
        """Yields at first all units, then those whose files changed or whose shim died, which gets a successor."""
        watch = UnitsWatch(self._directory, self._host.clock)
        with disk_errors("cannot watch the units"):
            watch.open()
        try:
            changed = set(await self.list())
            while True:
                with disk_errors("cannot look after the units"):
                    changed |= await self._look_after(changed | self._errors.keys())
                for name in sorted(changed):
                    yield name
                changed = await self._next(watch)
        finally:
            watch.close()

    def logs(self, name: str, request: LogsRequest) -> AsyncIterator[LogsResponse]:
        return read_logs(self.directory_of(name), request, self._host.clock)

    async def close(self) -> None:
        """Does nothing: the shims are not this process's children."""

    def directory_of(self, name: str) -> str:
        """Returns the directory of a unit's files, its log among them (`logs`). Raises InvalidArgumentError for an
        invalid name."""
        if "/" in name or "\0" in name or name in ("", ".", ".."):
            raise InvalidArgumentError(f"{name!r} is no unit's name", field="unit")
        return os.path.join(self._directory, name)

    # Lost shims and lost files

    async def _next(self, watch: UnitsWatch) -> set[str]:
        """Returns the units that changed; none, if lost shims wait to be replaced and it is time to try again."""
        if not self._errors:
            return await watch.changes()
        try:
            async with self._host.clock.timeout(RETRY_S):
                return await watch.changes()
        except TimeoutError:
            return set()

    async def _look_after(self, names: set[str]) -> set[str]:
        """Starts a shim for each of these units that has lost its own, and returns those once all are at work.

        A shim whose files have vanished gets a signal, and writes them again.
        """
        seen = {name: self._look(self.directory_of(name)) for name in names - self._busy - self._removed}
        for name, look in seen.items():
            if look.lacks or (look.alive and not _has_records(self.directory_of(name))):
                shims.poke(self.directory_of(name), look.state)
        if any(look.state is None and look.rests and not look.alive for look in seen.values()):
            await self._find_by_processes()
        self._removed -= names
        lost = {name for name, look in seen.items() if look.is_lost or name in self._strays}
        self._errors = {name: why for name, why in self._errors.items() if name in lost or name in self._busy}
        await asyncio.gather(*(self._replace_shim(name) for name in sorted(lost)))
        return lost

    async def _replace_shim(self, name: str) -> None:
        async with self._launches.take():
            directory = self.directory_of(name)
            if name in self._busy or not (self._look(directory).is_lost or name in self._strays):
                return
            _LOG.warning("%s has lost its supervisor process: a new one takes over", name)
            try:
                await self._launch(name, directory)
            except RubeError as error:
                _LOG.error("%s", error)
                self._errors[name] = str(error)
            else:
                self._errors.pop(name, None)

    async def _launch(self, name: str, directory: str) -> None:
        await shims.launch(directory, self._host.clock, lost=name in self._strays)
        self._strays.discard(name)

    async def _find_by_processes(self) -> set[str]:
        """Returns the units that have a shim or processes. `_strays` are those with processes that no shim and no
        recorded state knows."""
        names = await asyncio.to_thread(presence.names_below, self._directory)
        seen = {name: self._look(self.directory_of(name)) for name in names - self._busy}
        self._strays = {name for name, look in seen.items() if look.state is None and look.rests and not look.alive}
        return names

    async def _restored(self, name: str, directory: str, seen: shims.Look) -> shims.Look:
        """Returns the unit's look once its shim has written the missing files again. Raises UnavailableError if it does
        not."""
        shims.poke(directory, seen.state)
        try:
            async with self._host.clock.timeout(RESTORE_S_MAX):
                while seen.lacks:
                    await self._host.clock.sleep(ANSWER_POLL_S)
                    seen = self._look(directory)
        except TimeoutError as error:
            raise UnavailableError(
                f"{name} has a supervisor process that does not answer, and files are missing in {directory}"
                + (f": {seen.why}" if seen.why else "")
            ) from error
        return seen

    # Actions

    async def _ensure(self, name: str, directory: str, action_id: str, ensure: UnitAction.Ensure) -> None:
        validate_unit(ensure.spec)
        if confining := missing_sandbox(ensure.spec.service):
            raise FailedPreconditionError(
                f"{', '.join(confining)}: the supervisor of this node cannot confine a unit so, and does not run it "
                "with less: leave it out, or run the unit on a node with systemd",
                field=confining[0],
            )
        seen = self._look(directory)
        if seen.newer:
            raise FailedPreconditionError(seen.why)
        self._removed.discard(name)
        files.make_directory(directory)
        unit = UnitRecord(
            uid=ensure.uid,
            generation=ensure.generation,
            digest=digest_of(ensure.spec),
            enabled=ensure.spec.enabled,
            plan=plan_of(name, ensure.spec, machine=machine_specifiers()),
            action_id=seen.unit.action_id if seen.unit is not None else "",
        )
        files.write(directory, unit)
        verb = _RUNS.get(ensure.run)
        if verb is not None:
            await self._request(name, directory, RequestRecord(id=action_id, verb=verb))
        # Last, because an action that was cut off is carried out again.
        files.write(directory, replace(unit, action_id=action_id), durable=True)
        seen = self._look(directory)
        if seen.alive:
            shims.poke(directory, seen.state)  # it keeps the file's content, should the file vanish

    def _last_action(self, directory: str) -> str:
        try:
            unit = files.read(directory, UnitRecord)
        except FileError:
            return ""
        return unit.action_id if unit is not None else ""

    async def _remove(self, name: str, directory: str, action_id: str) -> bool:
        """Stops the unit and removes it once it is down; returns whether that is done. Waits for no more than a quick
        stop.

        It stops by a request; by a signal if the disk takes none; by force if no shim can be started.
        """
        seen = self._look(directory)
        if not (seen.alive or name in self._strays or _is_there(directory)):
            return True
        if seen.newer:
            shims.poke(directory, seen.state, signal.SIGTERM)
        elif seen.alive or not seen.rests or name in self._strays:
            try:
                await self._request(name, directory, RequestRecord(id=action_id, verb="stop"))
            except (OSError, RubeError) as error:
                _LOG.warning("%s is stopped without its supervisor process: %s", name, error)
                shims.poke(directory, seen.state, signal.SIGTERM)
        if not await self._is_down(directory):
            return False
        seen = self._look(directory)
        if name in self._strays or not seen.rests or seen.newer:
            await asyncio.to_thread(_kill_what_is_left, directory, seen.state)
        self._strays.discard(name)
        self._errors.pop(name, None)
        self._removed.add(name)
        if _is_there(directory):
            shutil.rmtree(directory)
        return True

    async def _is_down(self, directory: str) -> bool:
        """Returns whether the unit has no shim, now or within STOP_WAIT_S. A shim whose unit is down by then, and which
        stays for the output of processes that the unit left running (KillMode=none), is ended."""
        try:
            async with self._host.clock.timeout(STOP_WAIT_S):
                while self._look(directory).alive:
                    await self._host.clock.sleep(ANSWER_POLL_S * 4)
        except TimeoutError:
            seen = self._look(directory)
            if seen.rests and seen.state is not None:
                shims.poke(directory, seen.state, signal.SIGTERM)
            return not seen.alive
        return True

    # Requests

    async def _request(self, name: str, directory: str, request: RequestRecord) -> None:
        """Asks the shim and returns when it has taken the request. A shim is started if one is needed.

        A shim that is alive and answers nothing for HUNG_S, because a file of its unit hangs, is killed, and the next
        one takes its place. Raises DeadlineExceededError if that does not help either.
        """
        files.write(directory, request)
        if await self._is_taken(name, directory, request):
            return
        shims.kill(directory, self._look(directory).state)
        _LOG.warning("%s: its supervisor process hangs and was killed", os.path.basename(directory))
        if not await self._is_taken(name, directory, request):
            raise DeadlineExceededError(
                f"the supervisor of {os.path.basename(directory)} does not answer: see {directory}/{files.SHIM_LOG}"
            )

    async def _is_taken(self, name: str, directory: str, request: RequestRecord) -> bool:
        """Returns whether a shim takes the request in time; starts one if one is needed."""
        for _ in range(LAUNCHES_PER_REQUEST_MAX):
            taken = await self._answer(directory, request, lost=name in self._strays)
            if taken is not None:
                return taken
            try:
                async with self._launches.take():
                    await self._launch(name, directory)
            except DeadlineExceededError:
                return False
        return False

    async def _answer(self, directory: str, request: RequestRecord, *, lost: bool) -> bool | None:
        """Returns whether the shim takes the request within HUNG_S; None: there is no shim to ask."""
        try:
            async with self._host.clock.timeout(HUNG_S):
                while True:
                    seen = shims.look(directory, self._boot_id, with_unit=False)
                    if seen.state is not None and seen.state.request_id == request.id and not seen.state.loading:
                        return True
                    if seen.alive:
                        shims.poke(directory, seen.state)
                        await self._host.clock.sleep(ANSWER_POLL_S)
                    elif request.verb == "stop" and seen.rests and not lost:
                        return True
                    else:
                        return None
        except TimeoutError:
            return False

    # Files

    def _known(self) -> set[str]:
        """Returns the units that have files."""
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return set()
        return {name for name in names if _has_records(os.path.join(self._directory, name))}

    def _look(self, directory: str) -> shims.Look:
        return shims.look(directory, self._boot_id)


def _is_there(directory: str) -> bool:
    return os.path.lexists(directory)


def _has_records(directory: str) -> bool:
    return any(os.path.lexists(os.path.join(directory, name)) for name in _RECORDS)


def _kill_what_is_left(directory: str, state: StateRecord | None) -> None:
    """Kills remaining processes. Raises UnavailableError if one cannot be killed."""
    try:
        if state is not None:
            kill_leftovers(state.invocation, state.processes)
        kill_all(directory)
    except TimeoutError as error:
        raise UnavailableError(str(error)) from error
