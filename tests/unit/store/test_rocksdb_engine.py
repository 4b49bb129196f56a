"""The RocksDB engine's own behaviour: the owner of a directory, locks, readers beside it, its log's end."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Rdict, WriteBatch, WriteOptions

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError
from rube.host import Engine, Write
from rube.store import RealStorage
from rube.store.engines import rocksdb_files
from rube.store.engines.rocksdb import RocksdbEngine
from rube.store.engines.rocksdb_wal import is_sound, is_torn, length_up_to

WRITER = """
import asyncio, os, sys
from rube.host import Write
from rube.store import RealStorage
from rube.store.engines import rocksdb_files

async def main():
    rocksdb_files.WRITE_BUFFER_BYTES_MAX = int(sys.argv[4])
    engine = await RealStorage().open(sys.argv[1])
    for number in range(int(sys.argv[2])):
        await engine.commit([Write(b"%05d" % number, b"%5d;" % number * 80), Write(b"newest", b"%d" % number)])
        os.write(1, b"%d\\n" % number)
    if sys.argv[3] == "wait":
        await asyncio.sleep(600)
    os._exit(0)

asyncio.run(main())
"""
"""Commits values of 500 bytes under 0, 1, 2, … and tells of each; then dies, or waits."""
COUNT = 200


async def opened(path: Path, *, read_only: bool = False) -> Engine:
    return await RealStorage().open(f"rocksdb:///{path}", read_only=read_only)


def keys_of(path: Path) -> list[bytes]:
    async def main() -> list[bytes]:
        engine = await opened(path)
        keys = [key for key, _ in engine.scan(b"0", b"9")]
        await engine.close()
        return keys

    return asyncio.run(main())


def write(path: Path, count: int, then: str = "die", buffer_bytes: int = 32 * 1024 * 1024) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", WRITER, f"rocksdb:///{path}", str(count), then, str(buffer_bytes)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process died with everything in its log."""
    path = tmp_path_factory.mktemp("killed") / "store"
    process = write(path, COUNT)
    process.communicate()
    assert len(log_of(path).read_bytes()) > COUNT * 400
    return path


@pytest.fixture
def copy(killed: Path, tmp_path: Path) -> Path:
    shutil.copytree(killed, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """A store that another process has open and goes on writing to; its log becomes a table many times a second."""
    process = write(tmp_path / "store", 1_000_000, "wait", 64 * 1024)
    assert process.stdout is not None
    try:
        for _ in range(300):
            process.stdout.readline()
        yield tmp_path / "store"
    finally:
        process.kill()
        process.communicate()


def log_of(path: Path) -> Path:
    (log,) = path.glob("*.log")
    return log


def test_everything_is_there_after_a_kill(copy: Path) -> None:
    assert len(keys_of(copy)) == COUNT


def test_a_missing_package_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(FailedPreconditionError, match=r"pip install 'rube-plane\[rocksdb\]'"):
        asyncio.run(opened(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text("MANIFEST-000001\n")
    with pytest.raises(FailedPreconditionError, match=r"holds files of something else \(such as CURRENT\)"):
        asyncio.run(opened(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["CURRENT"]


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(FailedPreconditionError, match="cannot be created or opened"):
        asyncio.run(opened(tmp_path / "store"))


def test_another_format_is_refused_with_the_remedy(copy: Path) -> None:
    (copy / "RUBE").write_bytes(b"rube rocksdb 2\n")
    for read_only in (False, True):
        with pytest.raises(FailedPreconditionError, match=r"rube rocksdb 2.*use the version of Rube that wrote it"):
            asyncio.run(opened(copy, read_only=read_only))


def test_a_creation_that_was_interrupted_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "RUBE").write_bytes(b"rube ro")
    assert keys_of(tmp_path) == []
    assert (tmp_path / "RUBE").read_bytes() == rocksdb_files.FORMAT


def test_one_process_at_a_time_has_it_open_and_once(running: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedPreconditionError, match=r"in use by another process.*stop it"):
        asyncio.run(opened(running))

    async def twice() -> None:
        engine = await opened(tmp_path / "mine")
        with pytest.raises(FailedPreconditionError, match="or opened twice in this one"):
            await opened(tmp_path / "mine")
        rows = engine.scan(b"", b"\xff")
        await engine.close()
        again = await opened(tmp_path / "mine")  # also while an unfinished scan of the first is around
        await again.close()
        assert rows is not None

    asyncio.run(twice())


def test_a_reader_beside_a_running_server_sees_one_moment_without_holes(running: Path) -> None:
    before = 0
    for _ in range(60):

        async def look() -> int:
            engine = await opened(running, read_only=True)
            newest = int(engine.get(b"newest") or b"0")
            assert [int(key) for key, _ in engine.scan(b"0", b"9")] == list(range(newest + 1))
            await engine.close()
            return newest

        newest = asyncio.run(look())
        assert newest >= before
        before = newest
    assert before > 0
    assert not list(running.glob("LOG.old*")), "the server's own log is left alone"


def test_a_checkpoint_that_was_interrupted_is_no_store(copy: Path) -> None:
    (copy / "RUBE").unlink()
    with pytest.raises(FailedPreconditionError, match="something else"):
        asyncio.run(opened(copy))


# The end of the log


@pytest.mark.parametrize("garbage", [b"", bytes(300), b"\x55" * 300], ids=["cut", "zeros", "garbage"])
def test_a_commit_that_power_loss_tore_is_dropped_and_nothing_else(copy: Path, garbage: bytes) -> None:
    log = log_of(copy)
    whole = log.read_bytes()
    sequence = 2 * (COUNT - 1)
    start = length_up_to(whole, sequence)
    assert len(whole) - 1000 < start < len(whole)
    (copy / "ACKNOWLEDGED").unlink()  # the last commit was not acknowledged
    log.write_bytes(whole[: start + 200] + garbage)
    assert len(keys_of(copy)) == COUNT - 1


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_in_the_log_is_damage_and_never_taken_for_its_end(copy: Path, place: float) -> None:
    log = log_of(copy)
    data = bytearray(log.read_bytes())
    data[int(len(data) * place)] ^= 4
    log.write_bytes(data)
    (copy / "ACKNOWLEDGED").unlink()  # it is found without the mark
    for _ in range(2):
        with pytest.raises(DataLossError, match=r"is damaged.*restore a backup"):
            asyncio.run(opened(copy))
    assert log.read_bytes() == data, "what is left stays for those who want to look at it"


class Failing:
    """A database whose next write fails, as `error`, after it was written or before."""

    def __init__(self, db: Rdict, error: str, *, written: bool) -> None:
        self._db, self._error, self._written = db, error, written

    def write(self, batch: WriteBatch, options: WriteOptions) -> None:
        error, self._error = self._error, ""
        if not error or self._written:
            self._db.write(batch, options)
        if error:
            raise Exception(error)

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


def test_after_a_failed_sync_nothing_is_written_even_if_rocksdb_would(tmp_path: Path) -> None:
    async def main() -> None:
        engine = await RocksdbEngine.open(tmp_path / "a")
        await engine.commit([Write(b"0", b"1")])
        engine._db = Failing(engine._db, "IO error: While fdatasync: x.log: Input/output error", written=False)  # type: ignore[assignment]
        with pytest.raises(DataLossError, match="the disk failed"):
            await engine.commit([Write(b"0", b"2")])
        with pytest.raises(DataLossError, match="nothing more is written"):
            await engine.commit([Write(b"0", b"3")])
        assert engine.get(b"0") == b"1"
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", ["No space left on device", "Disk quota exceeded"])
def test_what_was_refused_on_a_full_disk_does_not_come_back_with_its_log(tmp_path: Path, error: str) -> None:
    """The log may hold all of a batch, and have no room for the sync only."""

    async def main() -> None:
        engine = await RocksdbEngine.open(tmp_path / "a")
        await engine.commit([Write(b"1", b"stored")])
        engine._db = Failing(engine._db, f"IO error: {error}: While fsync: x.log", written=True)  # type: ignore[assignment]
        with pytest.raises(ResourceExhaustedError, match="nothing of this write was stored"):
            await engine.commit([Write(b"2", b"refused")])
        shutil.copytree(tmp_path / "a", tmp_path / "killed")
        await engine.close()

    asyncio.run(main())
    assert keys_of(tmp_path / "killed") == [b"1"]


def test_a_log_that_is_gone_is_missed(copy: Path) -> None:
    log_of(copy).unlink()
    with pytest.raises(DataLossError, match=r"400 writes were acknowledged.*remove \S*ACKNOWLEDGED"):
        asyncio.run(opened(copy))
    (copy / "ACKNOWLEDGED").unlink()
    assert keys_of(copy) == []


def test_logs_are_read_as_rocksdb_writes_them(killed: Path) -> None:
    log = log_of(killed).read_bytes()
    assert is_sound(log)
    assert is_torn(log[:-100])
    assert not is_torn(log)
    assert is_sound(log[: length_up_to(log, 100)])
    assert not is_torn(log[:5000] + b"\0" + log[5001:])
    assert length_up_to(log, 2 * COUNT) == len(log)
    assert length_up_to(log, 0) == 0
