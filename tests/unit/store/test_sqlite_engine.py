"""The SQLite engine's own behaviour: files, locks, full disks, damage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    ResourceExhaustedError,
    UnavailableError,
)
from rube.host import RealClock, RealRandomness, Write
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import SqliteEngine, sqlite
from rube.store.engines.sqlite_errors import PATH_BYTES_MAX
from rube.store.engines.sqlite_files import OS_FILES, Access, Files
from rube.store.engines.sqlite_reader import SqliteReader


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


async def write_rows(path: Path, count: int) -> None:
    engine = await SqliteEngine.open(path)
    for start in range(0, count, 50):
        await engine.commit([Write(key(number), os.urandom(1024)) for number in range(start, start + 50)])
    await engine.close()


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a full disk needs the right to mount a tmpfs: run the tests as root")
    yield directory
    subprocess.run(["umount", directory], check=True)


def test_a_full_disk_refuses_whole_writes_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    async def fill(store: MvccStore) -> int:
        for number in range(2000):
            try:
                await store.commit(Txn((Op(b"a%d" % number, os.urandom(4096)), Op(b"b%d" % number, b""))))
            except ResourceExhaustedError as error:
                assert "is full: free some space" in error.message  # noqa: PT017 (the loop's own end)
                return number
        return 2000

    async def main() -> None:
        store = await MvccStore.open(
            await SqliteEngine.open(small_disk / "a.db"), clock=RealClock(), random=RealRandomness()
        )
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(1024 * 1024))
        acknowledged = await fill(store)
        assert 0 < acknowledged < 2000
        for _ in range(3):
            with pytest.raises(ResourceExhaustedError):
                await store.commit(Txn((Op(b"big", os.urandom(500_000)),)))
        assert store.revision == acknowledged
        # Still full, a restart reads what there is.
        await store.close()
        store = await MvccStore.open(
            await SqliteEngine.open(small_disk / "a.db"), clock=RealClock(), random=RealRandomness()
        )
        assert len((await store.range(b"", b"z")).records) == 2 * acknowledged
        ballast.unlink()
        await store.commit(Txn((Op(b"after", b""),)))
        await store.close()
        store = await MvccStore.open(
            await SqliteEngine.open(small_disk / "a.db"), clock=RealClock(), random=RealRandomness()
        )
        keys = {record.key for record in (await store.range(b"", b"z")).records}
        assert keys == {b"after"} | {b"%s%d" % (letter, n) for n in range(acknowledged) for letter in (b"a", b"b")}
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("statement", ["BEGIN", "ROLLBACK"])
def test_a_scan_that_cannot_begin_or_end_gives_its_reader_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    """A reader that went lost would hold its place in the log till the end."""
    opened: list[sqlite3.Connection] = []

    class Failing(sqlite3.Connection):
        fails = False

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            opened.append(self)

        def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
            if Failing.fails and sql == statement:
                raise sqlite3.OperationalError("the disk is on fire")
            return super().execute(sql, *parameters)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **kwargs: connect(*args, factory=Failing, **kwargs))

    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(key(1), b"")])
        before = len(opened)
        Failing.fails = True
        for _ in range(20):
            with pytest.raises(DataLossError, match="on fire"):
                list(engine.scan(b"", b"\xff"))
        if statement == "BEGIN":
            with pytest.raises(DataLossError, match="on fire"):
                engine.snapshot()
            assert len(opened) == before + 1, "one reader is used again and again"
        Failing.fails = False
        assert list(engine.scan(b"", b"\xff")) == [(key(1), b"")]
        await engine.close()
        for connection in opened:
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                connection.execute("SELECT 1")

    asyncio.run(main())


def test_too_many_open_files_are_told_with_the_remedy_and_pass(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await SqliteEngine.open(tmp_path / "a.db")
        await engine.commit([Write(key(1), b"one")])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), hard))
        held: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(ResourceExhaustedError, match=r"no more files open; raise its limit .*ulimit -n"):
                engine.scan(b"", b"\xff")
            with pytest.raises(ResourceExhaustedError, match=r"no more files open"):
                engine.snapshot()
            await engine.commit([Write(key(2), b"two")])  # what is open goes on
            assert engine.get(key(2)) == b"two"
        finally:
            for fd in held:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert len(list(engine.scan(b"", b"\xff"))) == 2
        await engine.close()

    asyncio.run(main())
