"""The opening of SQLite files by their engine: paths, locks, damage, formats."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from rube.api.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from rube.host import RealClock, RealRandomness
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import SqliteEngine, sqlite
from rube.store.engines.sqlite_errors import PATH_BYTES_MAX
from tests.unit.store.sqlite_rows import write_rows


@pytest.mark.parametrize("length", [504, 505])
def test_a_path_that_is_too_long_for_sqlite_is_told_by_its_length(length: int, tmp_path: Path) -> None:
    path = tmp_path
    while (left := length - len(os.fsencode(path)) - 1) > 200:
        path /= "d" * 100
    path.mkdir(parents=True)
    path /= "f" * left
    assert len(os.fsencode(path)) == length

    async def main() -> None:
        await (await SqliteEngine.open(path)).close()

    if length == PATH_BYTES_MAX:
        asyncio.run(main())
        return
    with pytest.raises(FailedPreconditionError, match="its path has 505 bytes, and SQLite takes 504 at most"):
        asyncio.run(main())


def test_a_second_opening_is_refused_and_names_file_and_remedy(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        with pytest.raises(FailedPreconditionError, match=r"a\.db is in use .* stop it") as caught:
            await SqliteEngine.open(tmp_path / "a.db")
        assert "nothing needs to be removed" in caught.value.message
        await engine.close()
        await (await SqliteEngine.open(tmp_path / "a.db")).close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgres://x", "is of no known kind; write one of memory, sqlite, rocksdb"),
        ("nothing", r"has no kind"),
        ("sqlite:rube.db", r"names no file"),
        ("sqlite:///", r"names no file"),
        ("sqlite:////", r"names no file"),
    ],
)
def test_an_unknown_url_is_the_callers_mistake(url: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        asyncio.run(RealStorage().open(url))


def test_urls_are_relative_or_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def main() -> None:
        for url in ("sqlite:///sub/rel.db", f"sqlite:///{tmp_path}/abs.db", "memory:"):
            await (await RealStorage().open(url)).close()

    asyncio.run(main())
    assert (tmp_path / "sub/rel.db").is_file()
    assert (tmp_path / "abs.db").is_file()


def test_an_opening_keeps_nobody_waiting_and_can_be_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def waits(*_: object) -> None:
        reached.set()
        assert go_on.wait(60)

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "_check_sound", waits)
            opening = asyncio.create_task(SqliteEngine.open(tmp_path / "a.db"))
            await asyncio.to_thread(reached.wait, 60)  # while the opening waits
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            with pytest.raises(FailedPreconditionError, match="in use"):
                await SqliteEngine.open(tmp_path / "a.db")
            done = asyncio.Event()
            abandon = SqliteEngine.abandon

            def abandoned(engine: SqliteEngine) -> None:
                abandon(engine)
                done.set()

            patch.setattr(SqliteEngine, "abandon", abandoned)
            go_on.set()
            await done.wait()
        await (await SqliteEngine.open(tmp_path / "a.db")).close()

    asyncio.run(main())


def test_a_directory_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is a directory: name a file in it"):
        asyncio.run(SqliteEngine.open(tmp_path))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPreconditionError, match=r"cannot be created or opened .* choose a directory"):
        asyncio.run(SqliteEngine.open(tmp_path / "file" / "a.db"))
    with pytest.raises(FailedPreconditionError, match=r"cannot be created or opened"):
        asyncio.run(SqliteEngine.open(Path("/proc/rube/a.db")))


@pytest.mark.parametrize("damage", ["text", "zeroed head", "truncated", "flipped page"])
def test_a_damaged_file_is_data_loss_and_says_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db"

    async def fill() -> None:
        engine = await SqliteEngine.open(path)
        store = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())
        for number in range(20):
            await store.commit(Txn(tuple(Op(b"%d/%d" % (number, n), b"\xaa" * 1024) for n in range(10))))
        await store.close()

    async def read() -> None:
        engine = await SqliteEngine.open(path)
        store = await MvccStore.open(engine, clock=RealClock(), random=RealRandomness())
        try:
            await store.range(b"", b"\xff")
        finally:
            await store.close()

    asyncio.run(fill())
    data = bytearray(path.read_bytes())
    if damage == "text":
        data = bytearray(b"not a database, a text. " * 100)
    elif damage == "zeroed head":
        data[:100] = bytes(100)
    elif damage == "truncated":
        del data[len(data) // 2 :]
    else:
        place = data.index(b"\xaa" * 600, len(data) // 2) + 300
        data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataLossError, match=r"restore a backup"):
        asyncio.run(read())
    # Refusing it leaves it alone and unlocked.
    assert path.read_bytes() == data
    with pytest.raises(DataLossError):
        asyncio.run(read())


def test_a_file_that_is_no_database_may_be_a_wrong_path(tmp_path: Path) -> None:
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0:root:/root:/bin/bash\n" * 100)
    for read_only in (True, False):
        with pytest.raises(DataLossError, match="passwd is damaged or no SQLite database: check the path"):
            asyncio.run(RealStorage().open(f"sqlite:///{path}", read_only=read_only))


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(FailedPreconditionError, match="another program's database"):
        asyncio.run(SqliteEngine.open(path))


def test_a_newer_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(write_rows(path, 50))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(FailedPreconditionError, match=r"has format 99 .* use the version of Rube that wrote it"):
        asyncio.run(SqliteEngine.open(path))
