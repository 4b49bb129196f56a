"""The simulated disk: what kill -9, power loss and its own faults leave of a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, InvalidArgumentError
from rube.host import Write
from rube.sim.cluster.storage import SimStorage
from rube.sim.world.disk import SimDisk
from rube.sim.world.disk.log import SimLogFile
from rube.sim.world.kernel import SimHost, World

Body = Callable[[SimLogFile], Coroutine[Any, Any, None]]


class Machine:
    """A host with a disk, and processes that come and go on it."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.host: SimHost = self.world.host("a")
        self.disk = SimDisk(self.host)

    def run(self, body: Body) -> None:
        async def main() -> None:
            await body(self.disk.open("f"))

        self.world.run(main, host=self.host)

    def start(self, body: Body, run_for_s: float = 0.0) -> None:
        """Starts a process that runs `body` and then waits for its death."""

        async def main() -> None:
            await body(self.disk.open("f"))
            await asyncio.Event().wait()

        self.host.spawn("process", main)
        self.world.run_for(run_for_s)

    def content(self) -> bytes:
        found: list[bytes] = []

        async def read(log: SimLogFile) -> None:
            found.append(log.read())

        self.run(read)
        return found[0]

    def power_cycle(self) -> None:
        self.host.power_off()
        self.host.power_on()


async def write_synced_and_more(log: SimLogFile) -> None:
    log.append(b"synced")
    await log.sync()
    log.append(b"-not-synced")


def test_kill_keeps_what_was_written_without_a_sync() -> None:
    machine = Machine()
    with machine.world:
        machine.start(write_synced_and_more, 1)
        process = machine.host.process("process")
        assert process is not None
        process.kill()
        assert machine.content() == b"synced-not-synced"


def test_power_loss_keeps_what_was_synced_and_part_of_the_rest() -> None:
    left = set()
    for seed in range(30):
        machine = Machine(seed)
        with machine.world:
            machine.start(write_synced_and_more, 1)
            machine.power_cycle()
            content = machine.content()
            assert b"synced-not-synced".startswith(content)
            assert content.startswith(b"synced")
            left.add(len(content))
    assert len(left) > 3  # torn here and there


def test_power_loss_without_tearing_keeps_just_what_was_synced() -> None:
    machine = Machine()
    machine.disk.tear(False)
    with machine.world:
        machine.start(write_synced_and_more, 1)
        machine.power_cycle()
        assert machine.content() == b"synced"


def test_a_sync_that_power_loss_overtakes_does_not_count() -> None:
    machine = Machine()
    machine.disk.tear(False)
    machine.disk.latency_ms(10)
    with machine.world:
        machine.start(write_synced_and_more, 0.005)
        machine.power_cycle()
        machine.world.run_for(1)
        assert machine.content() == b""


def test_an_unsynced_truncation_is_undone_by_power_loss() -> None:
    async def write(log: SimLogFile) -> None:
        log.append(b"0123456789")
        await log.sync()
        log.truncate(4)
        log.append(b"abc")

    machine = Machine()
    with machine.world:
        machine.start(write, 1)
        machine.power_cycle()
        assert machine.content() == b"0123456789"


def test_a_replacement_is_whole_or_not_there() -> None:
    async def write(log: SimLogFile) -> None:
        log.append(b"old")
        await log.sync()
        await log.replace(b"new content")

    contents = set()
    for milliseconds in range(30):
        machine = Machine()
        machine.disk.tear(False)
        machine.disk.latency_ms(10)
        with machine.world:
            machine.start(write, milliseconds / 1000 + 0.0001)
            machine.power_cycle()
            contents.add(machine.content())
    assert contents == {b"", b"old", b"new content"}


def test_a_failed_sync_loses_the_bytes_and_refuses_the_file_from_then_on() -> None:
    async def write(log: SimLogFile) -> None:
        log.append(b"kept")
        await log.sync()
        machine.disk.fail_sync()
        log.append(b"lost")
        with pytest.raises(DataLossError, match="EIO"):
            await log.sync()
        for attempt in (lambda: log.append(b"x"), log.read):
            with pytest.raises(DataLossError):
                attempt()

    machine = Machine()
    with machine.world:
        machine.run(write)
        assert machine.content() == b"kept"


def test_a_sync_that_was_to_fail_may_be_let_off() -> None:
    async def write(log: SimLogFile) -> None:
        machine.disk.fail_sync()
        machine.disk.disarm()
        log.append(b"kept")
        await log.sync()

    machine = Machine()
    with machine.world:
        machine.run(write)
        assert machine.content() == b"kept"


def test_every_url_is_a_file_on_the_disk_and_survives_its_process() -> None:
    machine = Machine()
    storage = SimStorage(machine.disk)

    async def write() -> None:
        for url in ("memory:", "sqlite:///store.db", "sqlite:////var/rube.db"):
            engine = await storage.open(url)
            await engine.commit([Write(b"url", url.encode())])
        await asyncio.Event().wait()

    async def read() -> None:
        for url in ("memory:", "sqlite:///store.db", "sqlite:////var/rube.db"):
            engine = await storage.open(url)
            assert engine.get(b"url") == url.encode()
            await engine.close()
        with pytest.raises(InvalidArgumentError, match="of no known kind"):
            await storage.open("floppy:")

    with machine.world:
        machine.host.spawn("writer", write)
        machine.world.run_for(1)
        with pytest.raises(FailedPreconditionError, match="is open"):
            machine.disk.wipe()
        machine.power_cycle()
        machine.world.run(read, host=machine.host)
        assert machine.disk.paths == ("/var/rube.db", "memory:", "store.db")
        machine.disk.wipe()
        assert machine.disk.paths == ()


def test_faults_that_make_no_sense_are_refused() -> None:
    machine = Machine()
    with machine.world:
        with pytest.raises(InvalidArgumentError, match="least <= most"):
            machine.disk.latency_ms(2, 1)
        with pytest.raises(InvalidArgumentError, match="nothing to flip in 'f'"):
            machine.disk.flip("f")
