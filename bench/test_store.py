"""The store against the raw database below it, in one run: `pytest bench/test_store.py`.

Ratios hold from machine to machine, absolute figures do not. Values are 1 KiB; every commit is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from rube.host import RealClock, RealRandomness
from rube.store import Op, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import SqliteEngine

VALUE = os.urandom(1024)
IN_FLIGHT = 64
ROWS = [1, 10, 100]
RECOVERED_KEYS = 50_000


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


async def open_store(path: Path) -> MvccStore:
    return await MvccStore.open(await SqliteEngine.open(path), clock=RealClock(), random=RealRandomness())


def keys_for_ever() -> Iterator[bytes]:
    return (b"api.systemd.Unit/default/unit-%09d" % number for number in itertools.count())


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.benchmark(group="commit, one after the other")
def test_raw_sqlite(benchmark: BenchmarkFixture, tmp_path: Path, rows: int) -> None:
    with closing(sqlite3.connect(tmp_path / "raw.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, value BLOB)")
        ids = itertools.count()

        def commit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO log VALUES (?, ?)", [(next(ids), VALUE) for _ in range(rows)])
            connection.execute("COMMIT")

        benchmark.extra_info["rows"] = rows
        benchmark.pedantic(commit, rounds=100, warmup_rounds=5)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.benchmark(group="commit, one after the other")
def test_store(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, tmp_path: Path, rows: int) -> None:
    store = loop.run_until_complete(open_store(tmp_path / "store.db"))
    keys = keys_for_ever()

    def commit() -> None:
        loop.run_until_complete(store.commit(Txn(tuple(Op(next(keys), VALUE) for _ in range(rows)))))

    benchmark.extra_info["rows"] = rows
    benchmark.pedantic(commit, rounds=100, warmup_rounds=5)
    loop.run_until_complete(store.close())


@pytest.mark.benchmark(group="64 commits of 1 row in flight, or one raw commit of 64")
def test_raw_sqlite_64(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    test_raw_sqlite(benchmark, tmp_path, IN_FLIGHT)


@pytest.mark.benchmark(group="64 commits of 1 row in flight, or one raw commit of 64")
def test_store_64_in_flight(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """One round: 64 writers commit 10 rows each, one after the other; so 10 times the raw round's rows."""
    store = loop.run_until_complete(open_store(tmp_path / "store.db"))
    keys = keys_for_ever()
    rows_each = 10

    async def write() -> None:
        for _ in range(rows_each):
            await store.commit(Txn((Op(next(keys), VALUE),)))

    async def write_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(write())

    benchmark.extra_info["rows"] = IN_FLIGHT * rows_each
    benchmark.pedantic(lambda: loop.run_until_complete(write_all()), rounds=10, warmup_rounds=1)
    loop.run_until_complete(store.close())


@pytest.mark.benchmark(group="recovery")
def test_recovery_of_50_000(benchmark: BenchmarkFixture, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def fill() -> None:
        store = await open_store(path)
        keys = keys_for_ever()
        for _ in range(RECOVERED_KEYS // 500):
            await store.commit(Txn(tuple(Op(next(keys), VALUE) for _ in range(500))))
        await store.close()

    async def recover() -> None:
        store = await open_store(path)
        assert store.revision == RECOVERED_KEYS // 500
        await store.close()

    loop.run_until_complete(fill())
    benchmark.extra_info["rows"] = RECOVERED_KEYS
    benchmark.pedantic(lambda: loop.run_until_complete(recover()), rounds=3)
