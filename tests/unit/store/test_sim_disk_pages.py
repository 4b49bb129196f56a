"""Files of pages on the simulated disk: what kill -9, power loss and the disk's faults leave of them."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from rube.sim.world.disk import SimDisk
from rube.sim.world.disk.page_file import SimPageFile
from rube.sim.world.disk.pages import CACHE_PAGE_BYTES, SECTOR_BYTES
from rube.sim.world.kernel import SimHost, World

SECTORS = 8
OLD = b"o" * SECTOR_BYTES * SECTORS
NEW = b"n" * SECTOR_BYTES * SECTORS


class Machine:
    """A host with a disk, and a process that works on one file of it."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.host: SimHost = self.world.host("a")
        self.disk = SimDisk(self.host)

    def work(self, body: Callable[[SimPageFile], None]) -> None:
        """Runs `body` in a process that then waits for its death."""

        async def main() -> None:
            body(self.disk.open_pages("/d/f", create=True))
            await asyncio.Event().wait()

        if (running := self.host.process("process")) is not None:
            running.kill()
        self.host.spawn("process", main)
        self.world.run_for(0.001)

    def power_cycle(self) -> None:
        self.host.power_off()
        self.host.power_on()

    def content(self) -> bytes | None:
        found: list[bytes | None] = []

        async def read() -> None:
            found.append(self.disk.read("/d/f"))

        self.world.run(read, host=self.host)
        return found[0]


def write_old(machine: Machine) -> None:
    def body(file: SimPageFile) -> None:
        file.write_at(OLD, 0)
        file.sync()
        machine.disk.sync_directory("/d")

    machine.work(body)


def write_new(file: SimPageFile) -> None:
    file.write_at(NEW, 0)


def write_and_sync(file: SimPageFile) -> None:
    file.write_at(NEW, 0)
    file.sync()


def after_power_loss(seed: int, *bodies: Callable[[SimPageFile], None], tear: bool = True) -> bytes | None:
    machine = Machine(seed)
    with machine.world:
        machine.disk.tear(tear)
        write_old(machine)
        for body in bodies:
            machine.work(body)
        machine.power_cycle()
        return machine.content()


def test_kill_keeps_what_was_written_without_a_sync() -> None:
    machine = Machine()
    with machine.world:
        write_old(machine)
        machine.work(write_new)
        process = machine.host.process("process")
        assert process is not None
        process.kill()
        assert machine.content() == NEW


def test_power_loss_leaves_each_sector_as_old_or_new_as_chance_has_it() -> None:
    left = [after_power_loss(seed, write_new) or b"" for seed in range(60)]
    sectors = [
        tuple(content[place : place + SECTOR_BYTES] for place in range(0, len(OLD), SECTOR_BYTES)) for content in left
    ]
    whole = {OLD[:SECTOR_BYTES], NEW[:SECTOR_BYTES]}
    assert any(found == OLD for found in left)
    assert any(found == NEW for found in left)
    assert any(kept[0] == NEW[:SECTOR_BYTES] and kept[-1] == OLD[:SECTOR_BYTES] for kept in sectors)
    assert any(kept[-1] == NEW[:SECTOR_BYTES] and kept[0] == OLD[:SECTOR_BYTES] for kept in sectors)
    assert any(set(kept) - whole for kept in sectors)  # torn
    assert all(set(content) <= set(b"on") for content in left)


def test_power_loss_without_tearing_leaves_what_was_synced() -> None:
    assert {after_power_loss(seed, write_new, tear=False) for seed in range(5)} == {OLD}


def test_what_was_synced_survives_power_loss() -> None:
    assert {after_power_loss(seed, write_and_sync) for seed in range(10)} == {NEW}


def test_a_file_that_grew_or_was_cut_without_a_sync_has_either_length() -> None:
    grown = {len(after_power_loss(seed, lambda file: file.write_at(NEW, len(OLD))) or b"") for seed in range(20)}
    assert grown == {len(OLD), 2 * len(OLD)}
    cut = {len(after_power_loss(seed, lambda file: file.truncate(SECTOR_BYTES)) or b"") for seed in range(20)}
    assert cut == {SECTOR_BYTES, len(OLD)}


def test_what_a_file_never_held_is_never_found_in_it() -> None:
    def body(file: SimPageFile) -> None:
        file.truncate(0)
        file.write_at(b"n" * 100, 3 * SECTOR_BYTES)
        file.truncate(3 * SECTOR_BYTES + 50)
        file.write_at(b"m" * 700, 10)

    for seed in range(40):
        content = after_power_loss(seed, body)
        assert content is not None
        assert set(content) <= set(b"onm\0")
        assert set(content[3 * SECTOR_BYTES : 3 * SECTOR_BYTES + 50]) <= set(b"on\0")


def test_a_sync_that_failed_leaves_bytes_that_no_later_sync_makes_durable() -> None:
    def body(machine: Machine, file: SimPageFile) -> None:
        machine.disk.fail_sync()
        file.write_at(b"lost", 0)
        file.write_at(b"found", 2 * CACHE_PAGE_BYTES)
        with pytest.raises(OSError) as failure:
            file.sync()
        assert failure.value.errno == errno.EIO
        assert file.read_at(4, 0) == b"lost"  # as the page cache has it
        file.write_at(b"x", 2 * CACHE_PAGE_BYTES + 5)  # its page is written as a whole
        file.sync()

    for tear in (True, False):
        machine = Machine()
        with machine.world:
            machine.disk.tear(tear)
            write_old(machine)
            machine.work(lambda file, machine=machine: body(machine, file))  # type: ignore[misc]
            machine.power_cycle()
            content = machine.content()
            assert content is not None
            assert content[:4] == b"oooo"
            assert content[2 * CACHE_PAGE_BYTES :] == b"foundx"


def test_a_sync_that_lies_makes_nothing_durable() -> None:
    machine = Machine()
    with machine.world:
        machine.disk.tear(False)
        write_old(machine)
        machine.disk.lie(False)
        assert not machine.disk.has_failed
        machine.disk.lie()
        assert machine.disk.has_failed
        machine.work(write_and_sync)
        machine.power_cycle()
        assert machine.content() == OLD


def test_reads_and_writes_fail_as_often_as_they_are_told() -> None:
    machine = Machine()

    def body(file: SimPageFile) -> None:
        file.write_at(OLD, 0)
        for _ in range(2):
            machine.disk.fail_reads()
            machine.disk.fail_writes()
        for work in 2 * (lambda: file.read_at(4, 0), lambda: file.write_at(b"n", 0)):
            with pytest.raises(OSError) as failure:
                work()
            assert failure.value.errno == errno.EIO
        assert file.read_at(4, 0) == b"oooo"
        file.write_at(b"n", 0)
        assert file.read_at(4, 0) == b"nooo"

    with machine.world:
        machine.work(body)
        assert machine.content() is not None


def test_a_full_disk_takes_what_replaces_and_refuses_what_adds() -> None:
    machine = Machine()

    def body(file: SimPageFile) -> None:
        file.write_at(OLD, 0)
        machine.disk.fill(free_bytes=10)
        file.write_at(NEW, 0)
        file.write_at(b"x" * 10, len(NEW))
        with pytest.raises(OSError) as failure:
            file.write_at(b"x", len(NEW) + 10)
        assert failure.value.errno == errno.ENOSPC

    with machine.world:
        machine.work(body)
        assert machine.content() == NEW + b"x" * 10


def test_names_are_durable_with_their_directory() -> None:
    created, removed = set(), set()
    for seed in range(20):
        machine = Machine(seed)
        with machine.world:
            machine.work(write_and_sync)
            machine.power_cycle()
            created.add(machine.content())
        machine = Machine(seed)
        with machine.world:
            write_old(machine)
            machine.work(lambda _file, disk=machine.disk: disk.remove("/d/f"))  # type: ignore[misc]
            machine.power_cycle()
            removed.add(machine.content())
    assert created == {None, NEW}
    assert removed == {None, OLD}


def test_what_is_durable_of_a_file_is_what_its_directory_durably_names() -> None:
    machine = Machine()
    disk = machine.disk
    seen: list[bytes] = []
    versions = set()

    def body(file: SimPageFile) -> None:
        def look() -> None:
            seen.append(disk.durable("/d/f"))
            versions.add(disk.version("/d/f"))

        write_and_sync(file)
        look()
        disk.sync_directory("/d")
        look()
        disk.remove("/d/f")
        look()
        disk.sync_directory("/d")
        look()

    with machine.world:
        machine.work(body)
    assert seen == [b"", NEW, NEW, b""]
    assert len(versions) == 2


def test_what_kills_a_process_before_a_step_keeps_it_from_that_step() -> None:
    machine = Machine()
    with machine.world:
        write_old(machine)
        forget = machine.disk.on_step(machine.host.power_off)
        machine.work(write_new)
        forget()
        assert not machine.host.powered
        machine.host.power_on()
        assert machine.content() == OLD


def test_the_time_of_a_sync_passes_after_the_call_that_made_it() -> None:
    machine = Machine()
    machine.disk.latency_ms(10)
    took: list[float] = []

    async def main() -> None:
        file = machine.disk.open_pages("/d/f", create=True)
        file.write_at(NEW, 0)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await loop.run_in_executor(None, file.sync)
        took.append(loop.time() - start)
        machine.disk.stall()
        waiting = loop.run_in_executor(None, file.sync)
        await asyncio.sleep(5)
        assert not waiting.done()
        machine.disk.unstall()
        await waiting
        took.append(loop.time() - start)

    with machine.world:
        machine.world.run(main, host=machine.host)
    assert took[0] == pytest.approx(0.01, rel=0.1)
    assert took[1] == pytest.approx(5.02, rel=0.1)


def work_on_a_thread(machine: Machine, body: Callable[[SimPageFile], None], kill_after_s: float) -> bytes | None:
    """Runs `body` on an executor, takes the power so much later, and returns what is left of the file."""

    async def main() -> None:
        file = machine.disk.open_pages("/d/f", create=True)
        await asyncio.get_running_loop().run_in_executor(None, body, file)

    machine.host.spawn("on a thread", main)
    machine.world.run_for(kill_after_s)
    machine.power_cycle()
    return machine.content()


def after_a_sync_cut(seed: int, kill_after_s: float) -> bytes | None:
    """A sync takes 10 ms; what is written behind it is synced 10 ms later."""
    machine = Machine(seed)
    machine.disk.latency_ms(10)

    def body(file: SimPageFile) -> None:
        file.write_at(NEW, 0)
        file.sync()
        file.write_at(b"later", 0)
        file.truncate(SECTOR_BYTES)
        file.sync()

    with machine.world:
        write_old(machine)
        return work_on_a_thread(machine, body, kill_after_s)


def test_a_sync_is_durable_once_its_time_has_passed_and_no_sooner() -> None:
    whole = {OLD[:SECTOR_BYTES], NEW[:SECTOR_BYTES]}
    during = [after_a_sync_cut(seed, 0.005) or b"" for seed in range(20)]
    assert any(found != NEW for found in during)
    assert all(len(found) == len(OLD) and set(found) <= set(b"on") for found in during)
    assert {found[:SECTOR_BYTES] for found in during} >= whole
    between = [after_a_sync_cut(seed, 0.015) or b"" for seed in range(20)]
    assert {len(found) for found in between} == {len(NEW), SECTOR_BYTES}
    assert all(found[5:SECTOR_BYTES] == NEW[5:SECTOR_BYTES] for found in between)
    assert {after_a_sync_cut(seed, 0.025) for seed in range(5)} == {b"later" + NEW[5:SECTOR_BYTES]}


def test_a_stalled_sync_makes_nothing_durable_before_the_stall_ends() -> None:
    left = set()
    for unstalled in (False, True):
        machine = Machine()
        with machine.world:
            machine.disk.tear(False)
            write_old(machine)
            machine.disk.stall()

            async def main() -> None:
                file = machine.disk.open_pages("/d/f")  # noqa: B023 (runs before the next round)
                await asyncio.get_running_loop().run_in_executor(None, write_and_sync, file)

            machine.host.spawn("writer", main)
            machine.world.run_for(1)
            if unstalled:
                machine.disk.unstall()
                machine.world.run_for(1)
            machine.power_cycle()
            left.add((unstalled, machine.content()))
    assert left == {(False, OLD), (True, NEW)}


def test_a_sync_goes_on_when_its_process_is_killed() -> None:
    machine = Machine()
    machine.disk.latency_ms(10)
    with machine.world:
        machine.disk.tear(False)
        write_old(machine)

        async def main() -> None:
            file = machine.disk.open_pages("/d/f")
            await asyncio.get_running_loop().run_in_executor(None, write_and_sync, file)

        process = machine.host.spawn("writer", main)
        machine.world.run_for(0.005)
        process.kill()
        machine.world.run_for(0.006)
        machine.power_cycle()
        assert machine.content() == NEW


def test_a_strike_at_a_step_finds_the_syncs_before_it_done() -> None:
    machine = Machine()
    steps = 0

    def strike() -> None:
        nonlocal steps
        steps += 1
        if steps == 4:  # open, write, sync, write
            machine.world.outside(machine.host.power_off)

    def body(file: SimPageFile) -> None:
        file.write_at(NEW, 0)
        file.sync()
        file.write_at(b"later", 0)
        file.truncate(0)

    with machine.world:
        machine.disk.tear(False)
        write_old(machine)
        forget = machine.disk.on_step(strike)
        machine.work(lambda _file: None)
        steps = 1

        async def main() -> None:
            file = machine.disk.open_pages("/d/f")
            await asyncio.get_running_loop().run_in_executor(None, body, file)

        machine.host.spawn("on a thread", main)
        machine.world.run_for(1)
        forget()
        machine.host.power_on()
        assert machine.content() == NEW


@pytest.mark.parametrize(("cut_s", "left"), [(0.005, None), (0.015, OLD), (0.025, None)])
def test_a_name_is_durable_once_the_sync_of_its_directory_has_ended(cut_s: float, left: bytes | None) -> None:
    machine = Machine()
    machine.disk.latency_ms(10)
    machine.disk.tear(False)

    def body(file: SimPageFile) -> None:
        machine.disk.sync_directory("/d")
        machine.disk.remove("/d/f")
        machine.disk.sync_directory("/d")

    async def main() -> None:
        file = machine.disk.open_pages("/d/f", create=True)
        write_old_now(file)
        await asyncio.get_running_loop().run_in_executor(None, body, file)

    with machine.world:
        machine.host.spawn("on a thread", main)
        machine.world.run_for(cut_s)
        machine.power_cycle()
        assert machine.content() == left


def write_old_now(file: SimPageFile) -> None:
    file.write_at(OLD, 0)
    file.sync()
