"""The SQLite engine's log and syncs, also those that fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from rube.api.errors import (
    DataLossError,
    UnavailableError,
)
from rube.host import Write
from rube.store.engines import SqliteEngine, sqlite
from rube.store.engines.sqlite_files import OS_FILES, Access, Files
from rube.store.engines.sqlite_reader import SqliteReader
from tests.unit.store.sqlite_rows import write_rows


def test_commits_are_synced_to_the_disk(tmp_path: Path) -> None:
    asyncio.run(write_rows(tmp_path / "a.db", 50))
    connection = sqlite._connect(OS_FILES, tmp_path / "a.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    ("access", "keeps", "patience_ms"),
    [
        (Access.WRITE, False, 1000),
        (Access.READ, True, 1000),
        (Access.INSPECT, True, 5000),
        (Access.LOOK, True, 5000),
    ],
)
def test_readers_keep_their_statements_and_lookers_wait_longer(
    access: Access, keeps: bool, patience_ms: int, tmp_path: Path
) -> None:
    with contextlib.closing(OS_FILES.connect(tmp_path / "a.db", Access.WRITE)) as connection:
        connection.execute("CREATE TABLE pairs (key)")
    prepared: list[int] = []

    def note(action: int, *_: object) -> int:
        prepared.append(action)
        return sqlite3.SQLITE_OK

    with contextlib.closing(OS_FILES.connect(tmp_path / "a.db", access)) as connection:
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (patience_ms,)
        connection.set_authorizer(note)  # called as a statement is prepared
        for _ in range(2):
            prepared.clear()
            for number in range(8):
                connection.execute(f"SELECT key, {number} FROM pairs").close()
    assert (not prepared) == keeps


def test_what_a_killed_process_left_is_synced_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real_fsync(fd)

    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(b"a", b"1")])
        for end in ("", "-wal"):  # as kill -9 leaves them
            (tmp_path / f"b.db{end}").write_bytes((tmp_path / f"a.db{end}").read_bytes())
        await engine.close()
        monkeypatch.setattr(os, "fsync", fsync)
        engine = await SqliteEngine.open(tmp_path / "b.db")
        assert engine.get(b"a") == b"1"
        await engine.close()

    asyncio.run(main())
    assert synced == [str(tmp_path / "b.db-wal")]


def test_a_write_lock_held_by_another_program_passes(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        engine._writer.execute("PRAGMA busy_timeout = 10")
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="another program holds"):
            await engine.commit([Write(b"a", b"")])
        other.execute("ROLLBACK")
        other.close()
        await engine.commit([Write(b"a", b"")])
        await engine.close()

    asyncio.run(main())


class Broken:
    """A connection whose statements fail that begin so: EIO cannot be made without a faulty device."""

    def __init__(self, inner: sqlite3.Connection, start: str) -> None:
        self._inner, self._start = inner, start
        self.failures = 0

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
        if not statement.startswith(self._start):
            return self._inner.execute(statement, parameters)
        self.failures += 1
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    in_transaction = False

    def close(self) -> None:
        self._inner.close()


def test_a_failed_sync_of_the_file_that_the_log_is_copied_to_poisons_the_engine(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        broken = engine._writer = Broken(engine._writer, "PRAGMA wal_checkpoint")  # type: ignore[arg-type, assignment]
        for number in range(16):
            await engine.commit([Write(b"%d" % number, bytes(1_000_000))])
        with pytest.raises(DataLossError, match="SQLITE_IOERR_FSYNC"):  # the log has come to 16 MiB
            await engine.commit([Write(b"more", bytes(1_000_000))])
        with pytest.raises(DataLossError, match="nothing more is written"):
            await engine.commit([Write(b"a", b"")])
        assert broken.failures == 1
        await engine.close()
        # SQLite's own way to close is to copy the log once more, and to remove it if that seems to succeed.
        assert broken.failures == 1
        assert (tmp_path / "a.db-wal").stat().st_size > 16_000_000
        engine = await SqliteEngine.open(tmp_path / "a.db")
        assert len(list(engine.scan(b"", b"z"))) == 17
        await engine.close()
        assert not (tmp_path / "a.db-wal").exists()

    asyncio.run(main())


def test_a_sync_that_fails_at_the_end_is_told_and_leaves_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(b"a", b"1")])
        engine._writer = Broken(engine._writer, "PRAGMA wal_checkpoint")  # type: ignore[arg-type, assignment]
        with pytest.raises(DataLossError, match="SQLITE_IOERR_FSYNC"):
            await engine.close()
        assert (tmp_path / "a.db-wal").stat().st_size > 0
        engine = await SqliteEngine.open(tmp_path / "a.db")
        assert engine.get(b"a") == b"1"
        await engine.close()

    asyncio.run(main())


def test_a_sync_that_fails_at_the_start_is_told_and_leaves_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    connect = sqlite._connect

    def broken(files: Files, path: Path) -> Broken:
        return Broken(connect(files, path), "PRAGMA wal_checkpoint")  # type: ignore[arg-type]  # a stand-in

    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(b"a", b"1")])
        for name in ("a.db", "a.db-wal"):
            shutil.copy(tmp_path / name, killed)
        await engine.close()
        with monkeypatch.context() as patch:
            patch.setattr(sqlite, "_connect", broken)
            with pytest.raises(DataLossError, match="SQLITE_IOERR_FSYNC"):
                await SqliteEngine.open(killed / "a.db")
        assert (killed / "a.db-wal").stat().st_size > 0
        engine = await SqliteEngine.open(killed / "a.db")
        assert engine.get(b"a") == b"1"
        await engine.close()

    asyncio.run(main())


def test_a_log_that_a_reader_keeps_is_written_anew_at_the_start(tmp_path: Path) -> None:
    """Its last sync may have failed, and cannot be asked for again: a kernel tells once, and drops what it could not
    write."""
    path, log = tmp_path / "a.db", tmp_path / "a.db-wal"

    async def main() -> None:
        engine = await SqliteEngine.open(path)
        await engine.commit([Write(b"a", b"1")])
        reader = SqliteReader.open(path)
        await engine.commit([Write(b"a", b"2")])
        engine._writer = Broken(engine._writer, "")  # type: ignore[arg-type, assignment]  # a stand-in
        with pytest.raises(DataLossError):
            await engine.commit([Write(b"a", b"3")])
        await engine.close()
        content = log.read_bytes()
        os.utime(log, (0, 0))
        engine = await SqliteEngine.open(path)
        assert log.stat().st_mtime > 0
        assert log.read_bytes() == content
        assert (reader.get(b"a"), engine.get(b"a")) == (b"1", b"2")
        await reader.close()
        await engine.close()

    asyncio.run(main())


def test_a_log_is_copied_and_used_again(tmp_path: Path) -> None:
    """A log that grew while a reader was there is cut."""
    log = tmp_path / "a.db-wal"

    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")

        async def write(count: int) -> None:
            for number in range(count):
                await engine.commit([Write(b"%d" % number, bytes(1_000_000))])

        await write(100)
        assert log.stat().st_size < 20_000_000
        snapshot = engine.snapshot()
        await write(60)
        assert log.stat().st_size > 60_000_000
        snapshot.close()
        await write(2)
        assert log.stat().st_size < 40_000_000
        await engine.close()

    asyncio.run(main())


def test_a_failed_sync_poisons_the_engine(tmp_path: Path) -> None:

    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(b"a", b"1")])
        writer = engine._writer
        engine._writer = Broken(writer, "")  # type: ignore[arg-type, assignment]  # a stand-in
        with pytest.raises(DataLossError, match="SQLITE_IOERR_FSYNC"):
            await engine.commit([Write(b"a", b"2")])
        engine._writer = writer
        with pytest.raises(DataLossError, match="nothing more is written"):
            await engine.commit([Write(b"a", b"3")])
        assert engine.get(b"a") == b"1"
        await engine.close()

    asyncio.run(main())
