"""The acknowledged mark: what it finds missing, and what it must not take for a loss."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from rube.api.errors import DataLossError
from rube.host import Write
from rube.store import RealStorage
from rube.store.engines.acknowledged import AcknowledgedMark, read_mark, write_mark

MARK = AcknowledgedMark(b"identity of 16 b", 7)


async def commit(path: Path, *keys: bytes) -> None:
    engine = await RealStorage().open(f"sqlite:///{path}")
    for key in keys:
        await engine.commit([Write(key, b"value")])
    await engine.close()


async def keys_in(path: Path) -> list[bytes]:
    engine = await RealStorage().open(f"sqlite:///{path}")
    try:
        return [key for key, _ in engine.scan(b"", b"\xff" * 9)]
    finally:
        await engine.close()


def test_a_mark_is_read_as_written_and_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "mark", os.O_RDWR | os.O_CREAT)
    assert read_mark(fd) is None
    write_mark(fd, MARK)
    assert read_mark(fd) == MARK
    size = os.fstat(fd).st_size
    for place in range(size):
        (byte,) = os.pread(fd, 1, place)
        os.pwrite(fd, bytes([byte ^ 1]), place)
        assert read_mark(fd) is None
        os.pwrite(fd, bytes([byte]), place)
    os.ftruncate(fd, size - 1)
    assert read_mark(fd) is None
    os.close(fd)


def test_a_mark_that_cannot_be_written_does_not_fail_the_commit(tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    fd = os.open(tmp_path / "mark", os.O_RDONLY)
    write_mark(fd, MARK)
    os.close(fd)


def test_commits_are_counted_across_restarts_and_the_key_of_zeros_is_a_key_like_others(tmp_path: Path) -> None:
    async def main() -> None:
        await commit(tmp_path / "a.db", bytes(8), b"12345678", b"other")
        await commit(tmp_path / "a.db", b"more")
        assert await keys_in(tmp_path / "a.db") == [bytes(8), b"12345678", b"more", b"other"]

    asyncio.run(main())
    fd = os.open(tmp_path / "a.db.lock", os.O_RDONLY)
    mark = read_mark(fd)
    os.close(fd)
    assert mark is not None
    assert mark.sequence == 4


def test_an_older_copy_in_its_place_is_told_and_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(commit(path, b"a"))
    shutil.copy(path, tmp_path / "old.db")
    asyncio.run(commit(path, b"b"))
    shutil.copy(tmp_path / "old.db", path)
    with pytest.raises(DataLossError, match=r"2 commits were acknowledged.*ends after 1 .*remove \S*a\.db\.lock"):
        asyncio.run(keys_in(path))
    Path(f"{path}.lock").unlink()
    assert asyncio.run(keys_in(path)) == [b"a"]


def test_a_checkpoint_in_its_place_is_another_store(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    async def main() -> None:
        engine = await RealStorage().open(f"sqlite:///{path}")
        await engine.commit([Write(b"a", b"")])
        await engine.checkpoint(str(tmp_path / "copy.db"))
        await engine.commit([Write(b"b", b"")])
        await engine.close()
        shutil.copy(tmp_path / "copy.db", path)
        assert await keys_in(path) == [b"a"]

    asyncio.run(main())


def test_a_store_that_was_deleted_begins_anew_and_an_emptied_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(commit(path, b"a"))
    os.truncate(path, 0)
    with pytest.raises(DataLossError, match="holds none"):
        asyncio.run(keys_in(path))
    path.unlink()
    assert asyncio.run(keys_in(path)) == []
    asyncio.run(commit(path, b"b"))
    assert asyncio.run(keys_in(path)) == [b"b"]


def test_a_file_of_a_version_that_did_not_count_is_taken_and_counted_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    asyncio.run(commit(path, b"a", b"12345678"))
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM log WHERE id = ?", (-(1 << 63),))
    connection.commit()
    connection.close()
    Path(f"{path}.lock").write_bytes(b"")
    asyncio.run(commit(path, b"b"))
    assert asyncio.run(keys_in(path)) == [b"12345678", b"a", b"b"]
