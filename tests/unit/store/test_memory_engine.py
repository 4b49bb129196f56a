"""The memory engine's own behaviour: its log is written anew before superseded batches fill the disk."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import ResourceExhaustedError
from rube.host import Write
from rube.sim.world.disk import SimDisk
from rube.sim.world.kernel import World
from rube.store import RealStorage
from rube.store.engines import MemoryEngine, memory


def test_the_log_is_bounded_by_what_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REWRITE_BYTES_MIN", 10_000)
    world = World(1)
    host = world.host("a")
    disk = SimDisk(host)

    async def main() -> None:
        engine = await MemoryEngine.open(disk, "data")
        for number in range(200):
            await engine.commit([Write(b"key", b"%03d" % number * 100), Write(b"%d" % (number % 7), b"x")])
            assert disk.used_bytes < 12_000
        await engine.close()
        engine = await MemoryEngine.open(disk, "data")
        assert engine.get(b"key") == b"199" * 100
        assert sum(1 for _ in engine.scan(b"", b"\xff")) == 8
        await engine.close()

    with world:
        world.run(main, host=host)


def test_a_commit_counts_even_if_there_is_no_room_to_write_the_log_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REWRITE_BYTES_MIN", 1000)
    world = World(1)
    host = world.host("a")
    disk = SimDisk(host)

    async def main() -> None:
        engine = await MemoryEngine.open(disk, "data")
        await engine.commit([Write(b"live", b"x" * 400)])
        disk.fill(free_bytes=800)
        committed = 0
        for number in range(1, 100):
            try:
                await engine.commit([Write(b"key", b"%03d" % number)])
            except ResourceExhaustedError:
                break
            committed = number
        assert 10 < committed < 99
        assert engine.get(b"key") == b"%03d" % committed
        disk.free()
        await engine.commit([Write(b"after", b"")])
        assert disk.used_bytes < 600  # written anew now
        await engine.close()
        engine = await MemoryEngine.open(disk, "data")
        assert engine.get(b"key") == b"%03d" % committed
        await engine.close()

    with world:
        world.run(main, host=host)


@pytest.mark.parametrize("seed", range(10))
def test_power_loss_during_a_rewrite_loses_nothing(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(memory, "REWRITE_BYTES_MIN", 1000)
    world = World(seed)
    host = world.host("a")
    disk = SimDisk(host)
    acknowledged = 0

    async def write() -> None:
        nonlocal acknowledged
        engine = await MemoryEngine.open(disk, "data")
        for number in range(1000):
            await engine.commit([Write(b"key", b"%d" % number), Write(b"same", b"x" * 300)])
            acknowledged = number

    async def check() -> None:
        engine = await MemoryEngine.open(disk, "data")
        found = engine.get(b"key")
        assert found is not None
        assert acknowledged <= int(found) <= acknowledged + 1
        await engine.close()

    with world:
        for _ in range(5):
            host.spawn("writer", write)
            world.run_for(world.random("test").uniform(0.005, 0.02))
            host.power_off()
            host.power_on()
            world.run(check, host=host)


def test_a_memory_url_is_a_new_engine_each_time() -> None:
    async def main() -> None:
        engine = await RealStorage().open("memory:")
        await engine.commit([Write(b"a", b"1")])
        other = await RealStorage().open("memory:")
        assert other.get(b"a") is None
        await engine.close()
        await other.close()

    asyncio.run(main())
