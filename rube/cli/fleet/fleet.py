"""The course of a fleet's bench: nodes come, rest, get units and changes, and lose their apiserver."""

from __future__ import annotations

import asyncio
import os
import sys
import time  # noqa: TID251 (the bench measures this machine)
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rube.api import ListRequest, Metadata, NodeStatus, Object, PutRequest, UnitStatus
from rube.api.errors import DeadlineExceededError, FailedPreconditionError
from rube.api.types import pack
from rube.api.well_known import NODE_LABEL, NODE_TYPE, UNIT_TYPE
from rube.cli.fleet.hollow import hollow_unit, node_name
from rube.cli.fleet.report import Report
from rube.cli.local import APISERVER, Daemon, listen_address
from rube.cli.open_files import FILES_REMEDY, raise_files_limit
from rube.cli.real_host import real_host
from rube.client import Client, Informer, InformerConfig
from rube.client.object_cache import Change

NAMESPACE = "fleet"
SINGLE_PUTS_MAX = 500
"""The most units that are put one by one, to see what each takes."""
SINGLE_PUTS_PER_S = 50
PUT_OBJECTS_MAX = 100
SETTLE_S = 12.0
"""After the nodes' first heartbeat each looks at its Node object once more."""
PHASE_S_MAX = 600.0
NODES_PER_PROCESS = 1_000
FILES_PER_NODE = 3
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """The options of a run."""

    nodes: int
    rest_s: float
    """How long the nodes rest while the cost of their heartbeats is measured."""
    store: str
    """The store's URL."""
    apiserver_args: Sequence[str]
    directory: Path
    """For logs."""


@dataclass(frozen=True, slots=True)
class _Usage:
    """The processor time and memory that a process has used so far."""

    processor_s: float
    memory_bytes: int


class Fleet:
    """An apiserver, processes of hollow nodes, and an observer of their units."""

    def __init__(self, options: FleetOptions, client: Client, apiserver: Daemon, say: Callable[[str], None]) -> None:
        self._options = options
        self._client = client
        self._apiserver = apiserver
        self._say = say
        self._host = real_host()
        self.report = Report(options.nodes)
        self._processes: list[asyncio.subprocess.Process] = []
        self._readers: list[asyncio.Task[None]] = []
        # By node: when it was given which generation of its unit, and when the observer saw its status of which.
        self._given: dict[str, tuple[int, int]] = {}
        self._reported: dict[str, tuple[int, int]] = {}
        self._ready: set[str] = set()
        self._moved = asyncio.Event()

    async def run(self, address: str) -> Report:
        """Runs all phases. Raises DeadlineExceededError if one does not come to its end."""
        units = Informer(self._client, self._host, InformerConfig(type=UNIT_TYPE, namespace=NAMESPACE))
        nodes = Informer(self._client, self._host, InformerConfig(type=NODE_TYPE))
        units.add_handler(self._see_unit)
        nodes.add_handler(self._see_node)
        following = [asyncio.create_task(units.run()), asyncio.create_task(nodes.run())]
        try:
            await self._ramp_up(address)
            await self._rest()
            await self._put_one_by_one()
            await self._put_all(2, "a unit put on every node, seen running after")
            await self._put_all(3, "one change to every node's unit, seen done after")
            await self._restart()
            self._weigh()
        finally:
            for task in (*following, *self._readers):
                task.cancel()
            await self._end_nodes()
        return self.report

    async def _ramp_up(self, address: str) -> None:
        began_s = time.monotonic()
        for first in range(1, self._options.nodes + 1, NODES_PER_PROCESS):
            count = min(NODES_PER_PROCESS, self._options.nodes + 1 - first)
            with (self._options.directory / f"nodes-{first}.log").open("wb") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-m", "rube.cli.fleet.nodes", address, str(first), str(count)),
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            self._processes.append(process)
            self._readers.append(asyncio.create_task(self._read(process)))
        await self._until("nodes are ready", lambda: len(self._ready))
        self.report.add("all nodes ready after", time.monotonic() - began_s, "s")

    async def _rest(self) -> None:
        self._say(f"resting for {SETTLE_S + self._options.rest_s:g} s")
        await asyncio.sleep(SETTLE_S)
        before, revision = self._usage(self._apiserver.pid), await self._revision()
        began_s = time.monotonic()
        await asyncio.sleep(self._options.rest_s)
        took_s = time.monotonic() - began_s
        used_s = self._usage(self._apiserver.pid).processor_s - before.processor_s
        self.report.add("apiserver at rest, of a core", 100 * used_s / took_s, "%")
        self.report.add("revisions at rest", (await self._revision() - revision) / took_s, "a second")

    async def _revision(self) -> int:
        """Returns the store's revision, by a read: a watch may tell of it seconds later."""
        return (await self._client.list_page(ListRequest(type=NODE_TYPE, page_size=1))).revision

    async def _put_one_by_one(self) -> None:
        given_s, reported_s = [], []
        for number in range(1, min(self._options.nodes, SINGLE_PUTS_MAX) + 1):
            node = node_name(number)
            began_s, began_ns = time.monotonic(), time.monotonic_ns()
            await self._put([node], 1)
            await self._until_one(node, 1)
            given_s.append((self._given[node][1] - began_ns) / 1e9)
            reported_s.append((self._reported[node][1] - began_ns) / 1e9)
            await asyncio.sleep(max(0.0, 1 / SINGLE_PUTS_PER_S - (time.monotonic() - began_s)))
        self.report.add_times("put to the node's having it", given_s)
        self.report.add_times("put to its status being seen", reported_s)

    async def _put_all(self, version: int, what: str) -> None:
        began_s = time.monotonic()
        before = self._usage(self._apiserver.pid)
        names = [node_name(number) for number in range(1, self._options.nodes + 1)]
        wanted: dict[str, int] = {}
        for first in range(0, len(names), PUT_OBJECTS_MAX):
            wanted |= await self._put(names[first : first + PUT_OBJECTS_MAX], version)
        await self._until(
            "units are so", lambda: sum(self._reported.get(node, (0, 0))[0] >= wanted[node] for node in names)
        )
        self.report.add(what, time.monotonic() - began_s, "s")
        used_s = self._usage(self._apiserver.pid).processor_s - before.processor_s
        self.report.add("  apiserver's processor time for it", 1000 * used_s / self._options.nodes, "ms a node")

    async def _restart(self) -> None:
        self.report.add("apiserver's memory", self._usage(self._apiserver.pid).memory_bytes / 1e6, "MB")
        self._say("killing the apiserver")
        await self._apiserver.kill()
        await self._apiserver.start()
        self._say("it is back")
        await self._put_all(4, "after kill -9 and a restart, a change to every unit is done after")

    def _weigh(self) -> None:
        used = [self._usage(process.pid) for process in self._processes]
        memory = sum(each.memory_bytes for each in used) / self._options.nodes
        self.report.add("a hollow node's memory, its part of the process", memory / 1e3, "kB")
        lines = sum(len(path.read_bytes().splitlines()) for path in self._options.directory.glob("nodes-*.log"))
        self.report.add("warnings of the nodes", lines)

    async def _put(self, nodes: Sequence[str], version: int) -> Mapping[str, int]:
        """Puts each node's unit; returns the generations."""
        objects = [
            Object(
                metadata=Metadata(namespace=NAMESPACE, name=node, labels={NODE_LABEL: node}),
                spec=pack(hollow_unit(version)),
            )
            for node in nodes
        ]
        answer = await self._client.put(PutRequest(objects=objects), deadline_s=60.0)
        return {node: metadata.generation for node, metadata in zip(nodes, answer.metadata, strict=True)}

    async def _until_one(self, node: str, generation: int) -> None:
        async with _phase(f"{node} reports generation {generation}"):
            while self._given.get(node, (0, 0))[0] < generation or self._reported.get(node, (0, 0))[0] < generation:
                await self._moved.wait()
                self._moved.clear()

    async def _until(self, what: str, count: Callable[[], int]) -> None:
        """Waits until as many as there are nodes."""
        told_s = time.monotonic()
        async with _phase(f"{self._options.nodes} {what}"):
            while (done := count()) < self._options.nodes:
                self._alive()
                if time.monotonic() - told_s >= 5:
                    told_s = time.monotonic()
                    self._say(f"{done} of {self._options.nodes} {what}")
                await asyncio.sleep(0.02)

    def _alive(self) -> None:
        for process in self._processes:
            if process.returncode is not None:
                raise FailedPreconditionError(
                    f"a process of hollow nodes ended with exit code {process.returncode}: "
                    f"its log is in {self._options.directory}"
                )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            node, generation, at_ns = line.decode().split()
            self._given[node] = int(generation), int(at_ns)
            self._moved.set()

    def _see_unit(self, change: Change) -> None:
        if change.new is None:
            return
        status = UnitStatus()
        change.new.status.Unpack(status)
        node = change.new.metadata.name
        if status.active_state == "active" and self._reported.get(node, (0, 0))[0] < status.observed_generation:
            self._reported[node] = status.observed_generation, time.monotonic_ns()
            self._moved.set()

    def _see_node(self, change: Change) -> None:
        if change.new is None:
            return
        status = NodeStatus()
        change.new.status.Unpack(status)
        if status.readiness == NodeStatus.READY:
            self._ready.add(change.new.metadata.name)
        else:
            self._ready.discard(change.new.metadata.name)

    async def _end_nodes(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _usage(self, pid: int) -> _Usage:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return _Usage((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, pages * os.sysconf("SC_PAGE_SIZE"))


@asynccontextmanager
async def _phase(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PHASE_S_MAX):
            yield
    except TimeoutError as error:
        raise DeadlineExceededError(f"waited {PHASE_S_MAX:g} s until {what}: try fewer --nodes") from error


async def run_fleet(options: FleetOptions, say: Callable[[str], None]) -> Report:
    """Runs the bench on an apiserver of its own. Raises a RubeError."""
    files = raise_files_limit()
    wanted = min(options.nodes, NODES_PER_PROCESS) * FILES_PER_NODE
    if files < wanted:
        raise FailedPreconditionError(f"{wanted} open files are needed and {files} are allowed: {FILES_REMEDY}")
    argv = [*APISERVER, "--store", options.store, "--listen", "127.0.0.1:0", *options.apiserver_args]
    apiserver = Daemon("apiserver", argv, log=options.directory / "apiserver.log")
    try:
        address = listen_address(await apiserver.start())
        apiserver.argv[apiserver.argv.index("--listen") + 1] = address
        async with Client(real_host(), [address]) as client:
            return await Fleet(options, client, apiserver, say).run(address)
    finally:
        await apiserver.stop()
