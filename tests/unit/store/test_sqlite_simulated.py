"""The SQLite engine on a simulated disk: what its host's end leaves of it at every step, and what a bad disk does."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import sys
import weakref
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, RubeError
from rube.host import Write
from rube.sim.sqlite import SimFiles
from rube.sim.sqlite.shared_index import IndexUser
from rube.sim.world.disk import SimDisk
from rube.sim.world.disk.page_file import SimPageFile
from rube.sim.world.kernel import SimHost, World
from rube.store.engines import SqliteEngine
from rube.store.engines.sqlite_reader import SqliteReader
from rube.store.engines.sqlite_tables import PAGE_BYTES

SEEDS = range(int(os.environ.get("RUBE_POWER_SEEDS", "1")))
"""Seeds of the campaign; `make campaign-power` takes many."""
STORE = Path("d/store")
STEPS_MAX = 2000


class Machine:
    """A host whose disk has one store."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed)
        self.host: SimHost = self.world.host("a")
        self.disk = SimDisk(self.host)
        self.files = SimFiles(self.disk, self.world)
        # What was acknowledged, and what was asked for beside it when the host ended: its whole batch or nothing.
        self.acknowledged: dict[bytes, bytes] = {}
        self.pending: dict[bytes, bytes | None] = {}

    async def open(self) -> SqliteEngine:
        return await SqliteEngine.open(STORE, self.files)

    async def commit(self, engine: SqliteEngine, writes: dict[bytes, bytes | None]) -> None:
        self.pending = writes
        await engine.commit([Write(key, value) for key, value in writes.items()])
        self.acknowledged = after(self.acknowledged, writes)
        self.pending = {}

    async def check(self) -> None:
        """Opens the store: all that was acknowledged is there, and nothing else but what was asked for last."""
        engine = await self.open()
        found = dict(engine.scan(b"", b"\xff" * 20))
        await engine.close()
        assert found in (self.acknowledged, after(self.acknowledged, self.pending))
        self.acknowledged, self.pending = found, {}

    def end(self, *, power: bool) -> None:
        process = self.host.process("writer")
        if power:
            self.host.power_off()
        elif process is not None:
            process.kill()


def after(pairs: dict[bytes, bytes], writes: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    merged = {**pairs, **writes}
    return {key: value for key, value in merged.items() if value is not None}


async def work(machine: Machine, life: int) -> None:
    """Appends, overwrites and deletes, copies the log meanwhile, and closes in good order."""
    engine = await machine.open()
    for number in range(4):
        name = b"%d/%d" % (life, number)
        await machine.commit(engine, {b"log-%04d" % (life * 10 + number): name * 40, b"pair/" + name: name})
        await machine.commit(engine, {b"big": name * 3000, b"pair/%d/%d" % (life, number - 1): None})
    await engine.close()


def lives(machine: Machine, *, power: bool, step: int) -> Iterator[int]:
    """Ends the writer at its `step`-th step, and again at some later ones; yields the step that each life has had."""
    for life in range(3):
        counted = 0

        def strike() -> None:
            nonlocal counted
            counted += 1
            if counted == (step if life == 0 else 1 + step * 7 % 60):  # noqa: B023 (called within)
                machine.world.outside(lambda: machine.end(power=power))

        forget = machine.disk.on_step(strike)
        machine.host.spawn("writer", lambda life=life: work(machine, life))  # type: ignore[misc]
        machine.world.run_for(1)
        forget()
        machine.host.power_on()
        yield counted


def strike_at(seed: int, *, power: bool, step: int) -> bool:
    """Returns whether there is such a step."""
    machine = Machine(seed * STEPS_MAX + step)
    with machine.world:
        for life, counted in enumerate(lives(machine, power=power, step=step)):
            machine.world.run(machine.check, host=machine.host)
            if life == 0 and counted < step:
                return False
    return True


@pytest.mark.parametrize("power", [True, False], ids=["power loss", "kill -9"])
@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_acknowledged_is_there_wherever_a_write_was_cut(seed: int, power: bool) -> None:
    steps = 0
    while strike_at(seed, power=power, step=steps + 1):
        steps += 1
        assert steps < STEPS_MAX
    assert steps > 60


def run(machine: Machine, body: Callable[[SqliteEngine], Coroutine[Any, Any, None]]) -> None:
    """Runs `body` on the engine, whose process is then killed."""

    async def main() -> None:
        await body(await machine.open())

    with machine.world:
        machine.world.run(main, host=machine.host)


def test_a_sync_that_failed_ends_all_writes_and_loses_nothing_acknowledged() -> None:
    machine = Machine()

    async def write() -> None:
        engine = await machine.open()
        await machine.commit(engine, {b"a": b"1"})
        machine.disk.fail_sync()
        for _ in range(2):
            with pytest.raises(DataLossError, match=r"d/store: the disk failed \(SQLITE_IOERR_FSYNC"):
                await machine.commit(engine, {b"b": b"2"})

    with machine.world:
        machine.world.run(write, host=machine.host)
        machine.host.power_off()
        machine.host.power_on()
        machine.world.run(machine.check, host=machine.host)
    assert machine.acknowledged[b"a"] == b"1"


def test_a_write_that_failed_ends_all_writes() -> None:
    machine = Machine()

    async def body(engine: SqliteEngine) -> None:
        machine.disk.fail_writes()
        for _ in range(2):
            with pytest.raises(DataLossError, match="SQLITE_IOERR_WRITE"):
                await engine.commit([Write(b"a", b"1")])
        assert engine.get(b"a") is None

    run(machine, body)


def test_a_read_that_failed_is_told_and_the_next_is_answered() -> None:
    machine = Machine()

    async def body(engine: SqliteEngine) -> None:
        await engine.commit([Write(b"a", b"1"), Write(b"long", b"x" * 100_000)])
        machine.disk.fail_reads()
        with pytest.raises(DataLossError, match=r"d/store is damaged \(database disk image is malformed\)"):
            engine.get(b"long")
        assert engine.get(b"long") == b"x" * 100_000

    run(machine, body)


def test_a_full_disk_refuses_what_adds_and_goes_on_when_there_is_room() -> None:
    machine = Machine()

    async def body(engine: SqliteEngine) -> None:
        await engine.commit([Write(b"a", b"1")])
        machine.disk.fill(free_bytes=20_000)
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match="is full"):
                await engine.commit([Write(b"b", b"x" * 30_000)])
        await engine.commit([Write(b"a", None)])  # what takes room away is taken
        machine.disk.free()
        await engine.commit([Write(b"b", b"x" * 30_000)])
        assert engine.get(b"b") == b"x" * 30_000
        await engine.close()

    run(machine, body)


@pytest.mark.parametrize("seed", range(10))
def test_a_full_disk_at_any_write_keeps_what_was_acknowledged(seed: int) -> None:
    machine = Machine(seed)

    async def body(engine: SqliteEngine) -> None:
        for number in range(20):
            machine.disk.fill(machine.world.random("test").randrange(40_000))
            try:
                await machine.commit(engine, {b"%d" % (number % 4): b"%d" % number * 5000})
            except ResourceExhaustedError:
                machine.pending = {}
        machine.disk.free()
        await engine.close()
        await machine.check()

    run(machine, body)


def after_lies(seed: int) -> str:
    """Returns what became of a store whose disk lied: "told", or "opened" as it once was."""
    machine = Machine(seed)
    states: list[dict[bytes, bytes]] = [{}]
    outcome = "opened"

    async def lie() -> None:
        engine = await machine.open()
        await machine.commit(engine, {b"a": b"0" * 3000})
        states.append(machine.acknowledged)
        machine.disk.lie()
        for number in range(5):
            await machine.commit(engine, {b"%d" % number: b"%d" % number * 3000})
            states.append(machine.acknowledged)
        machine.host.power_off()

    async def look() -> None:
        nonlocal outcome
        try:
            engine = await machine.open()
        except DataLossError as error:
            assert "d/store" in error.message  # noqa: PT017 (either way is right)
            outcome = "told"
            return
        assert dict(engine.scan(b"", b"\xff")) in states[1:]
        await engine.close()

    with machine.world:
        machine.host.spawn("writer", lie)
        machine.world.run_for(1)
        machine.disk.disarm()
        machine.host.power_on()
        machine.world.run(look, host=machine.host)
    return outcome


def test_a_disk_that_lied_is_told_or_the_store_is_as_it_once_was() -> None:
    assert {after_lies(seed) for seed in range(30)} == {"told", "opened"}


def after_flip(seed: int, name: str, place: int | None = None) -> str:
    """Returns what became of a store with one flipped bit: "told", or "opened" with at most one value changed."""
    machine = Machine(seed)
    kept = {b"%d" % number: b"%d" % number * 900 for number in range(40)}
    outcome = "opened"

    async def fill() -> None:
        engine = await machine.open()
        for key, value in kept.items():
            await engine.commit([Write(key, value)])
        if name == "d/store":
            await engine.close()
            machine.disk.sync_directory("d")  # or the log may come back, with all that the file has
        machine.host.power_off()

    async def look() -> None:
        nonlocal outcome
        try:
            engine = await machine.open()
        except RubeError as error:
            assert isinstance(error, DataLossError | FailedPreconditionError)  # noqa: PT017 (either way is right)
            outcome = "told"
            return
        try:
            found = dict(engine.scan(b"", b"\xff"))
        except DataLossError:
            outcome = "told"
            return
        assert found.keys() == kept.keys()
        # The store above the engine has a checksum in each row: a value is its matter.
        assert sum(found[key] != kept[key] for key in kept) <= 1

    with machine.world:
        machine.host.spawn("writer", fill)
        machine.world.run_for(1)
        machine.disk.flip(name, place)
        machine.host.power_on()
        machine.world.run(look, host=machine.host)
    return outcome


def test_a_flipped_bit_of_the_log_is_told() -> None:
    assert {after_flip(seed, "d/store-wal") for seed in range(30)} == {"told"}


def test_a_flipped_bit_of_the_file_is_told_beside_its_values() -> None:
    assert {after_flip(seed, "d/store") for seed in range(30)} == {"told", "opened"}
    for place in (0, 2 * PAGE_BYTES):  # the file's first byte, and the type of a page
        assert {after_flip(seed, "d/store", place) for seed in range(3)} == {"told"}


def test_one_process_writes_and_others_look_on_meanwhile() -> None:
    machine = Machine()
    seen: list[bytes | None] = []

    async def second() -> None:
        with pytest.raises(FailedPreconditionError, match=r"d/store\.lock is in use by a/writer#1"):
            await machine.open()
        reader = SqliteReader.open(STORE, machine.files)
        seen.append(reader.get(b"a"))
        await reader.checkpoint("d/copy")
        await reader.close()
        copy = await SqliteEngine.open(Path("d/copy"), machine.files)
        seen.append(copy.get(b"a"))
        await copy.close()

    async def first() -> None:
        engine = await machine.open()
        await engine.commit([Write(b"a", b"1")])
        await asyncio.Event().wait()

    with machine.world:
        machine.host.spawn("writer", first)
        machine.world.run_for(1)
        machine.world.run(second, host=machine.host)
    assert seen == [b"1", b"1"]


def test_a_kill_of_the_writer_leaves_who_looks_on_undisturbed() -> None:
    machine = Machine()
    seen: list[bytes | None] = []

    async def first() -> None:
        engine = await machine.open()
        await engine.commit([Write(b"a", b"1")])
        await asyncio.Event().wait()

    async def look() -> None:
        reader = SqliteReader.open(STORE, machine.files)
        machine.end(power=False)
        await asyncio.sleep(1)
        engine = await machine.open()
        await engine.commit([Write(b"a", b"2")])
        seen.append(reader.get(b"a"))
        await reader.close()
        seen.append(engine.get(b"a"))
        await engine.close()

    with machine.world:
        machine.host.spawn("writer", first)
        machine.world.run_for(1)
        machine.world.run(look, host=machine.host)
    assert seen == [b"1", b"2"]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    def content(seed: int) -> tuple[str, bytes]:
        machine = Machine(seed)

        async def body(engine: SqliteEngine) -> None:
            await engine.commit([Write(b"a", b"1")])

        run(machine, body)
        return machine.world.trace.digest(), machine.disk.durable("d/store-wal")

    first, again, other = content(1), content(1), content(2)
    assert first == again
    assert first[1] != other[1]


def test_an_opening_waits_for_a_stalled_disk() -> None:
    machine = Machine()

    async def main() -> None:
        machine.disk.stall()
        opening = asyncio.create_task(machine.open())
        await asyncio.sleep(5)
        assert not opening.done()
        machine.disk.unstall()
        await (await opening).close()

    with machine.world:
        machine.world.run(main, host=machine.host)


def test_a_commit_takes_as_long_as_the_syncs_of_its_disk() -> None:
    machine = Machine()
    machine.disk.latency_ms(20)
    took: list[float] = []

    async def body(engine: SqliteEngine) -> None:
        start = asyncio.get_running_loop().time()
        await engine.commit([Write(b"a", b"1")])
        took.append(asyncio.get_running_loop().time() - start)

    run(machine, body)
    assert 0.04 < took[0] < 0.07  # the log is new: its header and its name are synced, too


def test_a_defect_of_the_shared_index_is_raised_and_grants_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()

    def broken(*_: object) -> int:
        raise KeyError("no user")

    async def body(engine: SqliteEngine) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(IndexUser, "lock", broken)
            with pytest.raises(KeyError, match="no user"):
                await engine.commit([Write(b"a", b"1")])
        assert engine.get(b"a") is None

    run(machine, body)


def test_an_exception_that_is_none_of_sqlites_goes_to_the_hook_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    told: list[sys.UnraisableHookArgs] = []
    steps = 0

    class Broken:
        def __del__(self) -> None:
            raise KeyError("within")

    def drop() -> None:
        nonlocal steps
        steps += 1
        Broken()

    async def body(engine: SqliteEngine) -> None:
        monkeypatch.setattr(sys, "unraisablehook", told.append)
        machine.disk.on_step(drop)
        await engine.commit([Write(b"a", b"1")])

    run(machine, body)
    assert len(told) == steps > 1
    assert all(isinstance(found.exc_value, KeyError) for found in told)


def test_a_process_that_is_dead_leaves_no_volume_and_a_world_that_is_over_nothing() -> None:
    machine = Machine()
    with machine.world:
        for _ in range(3):
            process = machine.host.spawn("writer", machine.open)
            machine.world.run_for(1)
            process.kill()
            machine.world.run_for(1)
        assert not machine.files._volumes
        machine.world.run(machine.open, host=machine.host)
    world = weakref.ref(machine.world)
    del machine, process
    gc.collect()
    assert world() is None


def test_a_lock_whose_making_fails_is_not_kept() -> None:
    machine = Machine()

    async def body() -> None:
        real = machine.disk.open_pages

        def refuse(path: str, *, create: bool = False) -> SimPageFile:
            if path == str(STORE):
                raise OSError(errno.ENOSPC, "no room", path)
            return real(path, create=create)

        machine.disk.open_pages = refuse  # type: ignore[method-assign]
        with pytest.raises(OSError, match="no room"):
            machine.files.lock(STORE)
        machine.disk.open_pages = real  # type: ignore[method-assign]
        machine.files.lock(STORE).release()

    with machine.world:
        machine.world.run(body, host=machine.host)
