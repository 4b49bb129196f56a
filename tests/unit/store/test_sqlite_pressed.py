"""The SQLite engine on a full disk, and without room for more readers or files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import (
    DataLossError,
    ResourceExhaustedError,
)
from rube.host import RealClock, RealRandomness, Write
from rube.store import Op, Txn
from rube.store.embedded import MvccStore
from rube.store.engines import SqliteEngine
from tests.unit.store.sqlite_rows import key


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
