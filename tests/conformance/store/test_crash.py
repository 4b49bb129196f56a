"""An acknowledged write survives: kill -9 of a real process, power loss in the simulated world."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, RubeError
from rube.host import RealClock, RealRandomness, Write
from rube.sim.world.kernel import Death
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import MemoryEngine
from tests.conformance.store.store_sites import SimSite, open_store, put

ALL = (b"\x00", b"\xff" * 16)

WRITER = """
import asyncio, os, sys
from rube.host import RealClock, RealRandomness
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore

async def write(store, task):
    for number in range(1_000_000):
        key = b"%d/%d" % (task, number)
        revision = await store.commit(Txn((Op(key + b"/a", b"x" * 500), Op(key + b"/b", b"%d" % number))))
        os.write(1, b"%s %d\\n" % (key, revision))

async def main():
    engine = await RealStorage().open(sys.argv[1])
    store = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())
    os.write(1, b"ready\\n")
    async with asyncio.TaskGroup() as group:
        for task in range(16):
            group.create_task(write(store, int(sys.argv[2]) * 100 + task))

asyncio.run(main())
"""
"""Writes pairs of keys in transactions from 16 tasks and prints what was acknowledged."""


def test_acknowledged_writes_survive_kill_9_of_a_real_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    chance = random.Random(os.environ.get("RUBE_TEST_SEED", "1"))
    acknowledged: dict[bytes, int] = {}
    for life in range(5):
        acknowledged |= _live_and_die(url, life, lines_max=chance.randrange(1, 400))
        asyncio.run(_check(url, acknowledged))
    assert len(acknowledged) > 100


def test_a_store_that_another_process_has_open_is_refused_until_that_process_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    process = subprocess.Popen([sys.executable, "-c", WRITER, url, "0"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"ready\n"
        with pytest.raises(FailedPreconditionError, match=r"a\.db is in use by another process"):
            asyncio.run(_check(url, {}))
        process.kill()
        output.read()
    process.wait()
    asyncio.run(_check(url, {}))


def _live_and_die(url: str, life: int, lines_max: int) -> dict[bytes, int]:
    """Runs the writer until it has acknowledged so much, kills it, and returns all that it had acknowledged."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, url, str(life)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        lines = [output.readline() for _ in range(lines_max)]
        process.send_signal(signal.SIGKILL)
        lines += output.readlines()
    assert process.wait() == -signal.SIGKILL
    assert lines[0] == b"ready\n"
    whole = [line.split() for line in lines[1:] if line.endswith(b"\n")]
    return {key: int(revision) for key, revision in whole}


async def _check(url: str, acknowledged: dict[bytes, int]) -> None:
    engine = await RealStorage().open(url)
    store = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())
    records = {record.key: record for record in (await store.range(*ALL)).records}
    for key, revision in acknowledged.items():
        assert records[key + b"/a"].mod_revision == records[key + b"/b"].mod_revision == revision
    for key in records:  # whole or not at all
        assert (key[:-1] + b"a") in records
        assert (key[:-1] + b"b") in records
    await store.close()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("death", [Death.KILL, Death.POWER_LOSS])
def test_acknowledged_writes_survive_in_the_simulated_world(seed: int, death: Death) -> None:
    site = SimSite(seed)
    site.disk.latency_ms(0.1, 5)
    acknowledged: dict[bytes, int] = {}
    lives = 0

    async def write() -> None:
        store = await open_store(site)

        async def one(task: int) -> None:
            for number in range(1000):
                key = b"%d/%d/%d" % (lives, task, number)
                acknowledged[key] = await store.commit(Txn((Op(key + b"a", b""), Op(key + b"b", b"x" * 100))))

        async with asyncio.TaskGroup() as group:
            for task in range(5):
                group.create_task(one(task))

    async def check() -> None:
        store = await open_store(site)
        found = {record.key: record.mod_revision for record in (await store.range(*ALL)).records}
        for key, revision in acknowledged.items():
            assert found[key + b"a"] == found[key + b"b"] == revision
        assert len(found) % 2 == 0
        await store.close()

    with site.world as world:
        for lives in range(3):
            process = site.sim_host.spawn("writer", write)
            world.run_for(world.random("test").uniform(0.01, 0.1))
            if death is Death.KILL:
                process.kill()
            else:
                site.sim_host.power_off()
                site.sim_host.power_on()
            world.run(check, host=site.sim_host)
            assert len(acknowledged) > lives
        assert site.disk.paths == ("data",)


def test_a_dead_incarnation_cannot_write_and_its_lock_is_free() -> None:
    site = SimSite()
    opened: list[MemoryEngine] = []

    async def hold() -> None:
        opened.append(await MemoryEngine.open(site.disk, "data"))
        await asyncio.Event().wait()

    async def second() -> None:
        await MemoryEngine.open(site.disk, "data")

    with site.world as world:
        process = site.sim_host.spawn("first", hold)
        world.run_for(1)
        with pytest.raises(FailedPreconditionError, match="in use by a/first#1"):
            world.run(second, host=site.sim_host)
        process.kill()
        used_bytes = site.disk.used_bytes
        with pytest.raises(BaseException, match="is dead"):
            opened[0]._log.append(b"late")
        assert site.disk.used_bytes == used_bytes
        world.run(second, host=site.sim_host)


def test_what_was_read_after_a_kill_survives_power_loss() -> None:
    """A killed process may leave bytes that are written but not synced: read once, they must not vanish."""
    site = SimSite()
    site.disk.tear(False)
    seen: list[int] = []

    async def write() -> None:
        store = await open_store(site)
        site.disk.stall()
        await put(store, a=b"1")

    async def read() -> None:
        seen.append((await open_store(site)).revision)

    with site.world as world:
        process = site.sim_host.spawn("writer", write)
        world.run_for(1)
        process.kill()
        site.sim_host.spawn("reader", read)
        world.run_for(1)
        site.sim_host.power_off()
        site.sim_host.power_on()
        site.disk.unstall()
        world.run(read, host=site.sim_host)
    assert len(set(seen)) == 1


def test_a_failed_sync_acknowledges_nothing_then_or_later() -> None:
    site = SimSite()

    async def main() -> None:
        store = await open_store(site)
        first = await put(store, a=b"1")
        site.disk.fail_sync()
        for _ in range(2):
            with pytest.raises(DataLossError):
                await put(store, a=b"2")
        assert (await store.range(b"a", None)).records[0].value == b"1"
        await store.close()
        store = await open_store(site)
        assert store.revision == first
        await put(store, a=b"3")
        await store.close()

    site.run(main)


def test_a_full_disk_refuses_whole_writes_and_goes_on_when_there_is_room() -> None:
    site = SimSite()

    async def main() -> None:
        store = await open_store(site)
        site.disk.fill(free_bytes=500)
        revision = await put(store, a=b"x" * 300)
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError, match="is full"):
                await put(store, b=b"x" * 300)
        await put(store, c=b"")
        site.disk.free()
        assert await put(store, b=b"x" * 300) > revision
        await store.close()

    site.run(main)


def test_a_stalled_disk_holds_writes_back_and_then_lets_them_end() -> None:
    site = SimSite()

    async def main() -> None:
        store = await open_store(site)
        site.disk.stall()
        writing = asyncio.ensure_future(put(store, a=b"1"))
        await site.clock.sleep(10)
        assert not writing.done()
        assert (await store.range(b"a", None)).records == []
        site.disk.unstall()
        assert await writing == 1
        await store.close()

    site.run(main)


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_found_and_named_or_harmless(seed: int) -> None:
    site = SimSite(seed)

    async def main() -> None:
        store = await open_store(site)
        for number in range(10):
            await put(store, **{f"k{number}": b"v" * 50})
        before = await store.range(*ALL)
        await store.close()
        site.disk.flip("data")
        try:
            store = await open_store(site)
        except RubeError as error:
            assert "data" in error.message  # noqa: PT017 (either way is right)
            assert isinstance(error, DataLossError | FailedPreconditionError)  # noqa: PT017
        else:
            assert await store.range(*ALL) == before
            await store.close()

    site.run(main)


def test_a_damaged_row_names_its_key_and_revision() -> None:
    site = SimSite()

    async def main() -> None:
        store = await open_store(site)
        revision = await put(store, precious=b"value")
        await store.close()
        engine = await site.open_engine()
        ((key, row),) = engine.scan(b"", b"\x80")
        await engine.commit([Write(key, row[:-1] + b"X")])
        await engine.close()
        store = await open_store(site)
        with pytest.raises(DataLossError, match=f"revision {revision} .*precious"):
            await store.get([b"precious"])
        await store.close()

    site.run(main)


@pytest.mark.parametrize("name", ["store_id", "compact_revision"])
@pytest.mark.parametrize("damaged", [None, b"", b"\0" * 12])
def test_damage_to_what_is_known_of_the_store_is_found(name: str, damaged: bytes | None) -> None:
    site = SimSite()

    async def main() -> None:
        await (await open_store(site)).close()
        engine = await site.open_engine()
        await engine.commit([Write(b"\xffmvcc/" + name.encode(), damaged)])
        await engine.close()
        with pytest.raises(DataLossError, match=f"{name} is lost or damaged"):
            await open_store(site)

    site.run(main)


def test_an_unknown_format_and_foreign_data_are_refused_with_the_remedy() -> None:
    site = SimSite()

    async def main() -> None:
        await (await open_store(site)).close()
        engine = await site.open_engine()
        await engine.commit([Write(b"\xffmvcc/format", b"rube mvcc 3")])
        await engine.close()
        with pytest.raises(FailedPreconditionError, match=r"rube mvcc 3.*use the version of Rube that wrote it"):
            await open_store(site)
        engine = await site.open_engine()
        await engine.commit([Write(b"\xffmvcc/format", None)])
        await engine.close()
        with pytest.raises(FailedPreconditionError, match="data of another kind"):
            await open_store(site)

    site.run(main)


def test_the_same_seed_gives_the_same_trace_and_another_latency_another() -> None:
    def trace(latency_ms: float) -> str:
        site = SimSite(7)

        async def main() -> None:
            site.disk.latency_ms(latency_ms)
            store = await open_store(site)
            async with asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(put(store, **{f"k{number}": b""}))
            await store.close()

        site.run(main)
        return site.world.trace.digest()

    assert trace(1) == trace(1) != trace(1.5)


def test_power_loss_during_a_compaction_leaves_a_sound_store() -> None:
    for seed in range(0, 20, 2):
        site = SimSite(seed)
        expected: list[tuple[bytes, bytes]] = []

        async def fill(site: SimSite = site, expected: list[tuple[bytes, bytes]] = expected) -> None:
            store = await open_store(site)
            for number in range(30):
                await store.commit(Txn(tuple(Op(b"%02d" % key, b"%d" % number) for key in range(100))))
            await store.commit(Txn(tuple(Op(b"%02d" % key, None) for key in range(50))))
            expected += [(r.key, r.value) for r in (await store.range(*ALL)).records]
            await store.compact(store.revision)

        async def check(site: SimSite = site, expected: list[tuple[bytes, bytes]] = expected) -> None:
            store = await open_store(site)
            assert [(r.key, r.value) for r in (await store.range(*ALL)).records] == expected
            await store.compact(store.revision)
            await store.close()
            engine = await site.open_engine()
            assert sum(1 for _ in engine.scan(b"", b"\x80")) == 50
            await engine.close()

        with site.world as world:
            site.sim_host.spawn("store", fill)
            world.run_until(lambda: len(expected) > 0)  # noqa: B023 (called at once)
            world.run_for(seed * 0.0002)
            site.sim_host.power_off()
            site.sim_host.power_on()
            world.run(check, host=site.sim_host)
