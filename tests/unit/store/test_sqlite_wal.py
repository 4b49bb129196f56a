"""The end of SQLite's log: a commit that power loss tore is dropped, and damage before others is reported."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from rube.api.errors import DataLossError
from rube.host import Write
from rube.store import RealStorage
from rube.store.engines.sqlite_tables import PAGE_BYTES

KEYS = [b"key-%d" % number for number in range(6)]
LOG_HEADER_BYTES = 32
FRAME_BYTES = 24 + PAGE_BYTES


def killed(directory: Path) -> Path:
    """A store whose commits are in its log, as after power loss: without an acknowledged mark."""

    async def main() -> None:
        engine = await RealStorage().open(f"sqlite:///{directory}/store")
        for key in KEYS:
            await engine.commit([Write(key, key * 3000)])  # pages of its own
        shutil.copytree(directory, directory.with_suffix(".killed"), ignore=shutil.ignore_patterns("*.lock", "*-shm"))
        await engine.close()

    directory.mkdir()
    asyncio.run(main())
    return directory.with_suffix(".killed") / "store"


async def keys_in(path: Path) -> list[bytes]:
    engine = await RealStorage().open(f"sqlite:///{path}")
    try:
        return [key for key, _ in engine.scan(b"key", b"kez")]
    finally:
        await engine.close()


def commits_in(log: bytes) -> list[int]:
    """The places of the frames that end a transaction."""
    frames = range(LOG_HEADER_BYTES, len(log), FRAME_BYTES)
    return [start for start in frames if log[start + 4 : start + 8] != bytes(4)]


def test_all_of_an_intact_log_is_read(tmp_path: Path) -> None:
    assert asyncio.run(keys_in(killed(tmp_path / "a"))) == KEYS


@pytest.mark.parametrize("place", [2, 20, 500], ids=["number of its page", "checksum", "page"])
def test_a_flipped_bit_is_told_if_commits_stand_behind_it(tmp_path: Path, place: int) -> None:
    store = killed(tmp_path / "a")
    log = Path(f"{store}-wal")
    data = bytearray(log.read_bytes())
    *_, before, damaged, _, _ = commits_in(bytes(data))
    end = before + FRAME_BYTES
    data[damaged + place] ^= 1
    log.write_bytes(data)
    for _ in range(2):  # and again at the next start
        with pytest.raises(DataLossError, match=rf"store-wal is damaged behind byte {end}, and commits .*restore"):
            asyncio.run(keys_in(store))
        assert log.read_bytes() == data, "what is left stays for those who want to look at it"
    log.write_bytes(data[:end])  # as the message says
    Path(f"{store}.lock").unlink()
    assert asyncio.run(keys_in(store)) == KEYS[:-3]


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_commit_that_power_loss_tore_is_dropped(tmp_path: Path, frames: int) -> None:
    """Frames reach the disk in any order: the last commit's first ones, here, are not there."""
    store = killed(tmp_path / "a")
    log = Path(f"{store}-wal")
    data = bytearray(log.read_bytes())
    before, last = commits_in(bytes(data))[-2:]
    assert last - before >= 3 * FRAME_BYTES
    start = before + FRAME_BYTES
    data[start : start + frames * FRAME_BYTES] = bytes(frames * FRAME_BYTES)
    log.write_bytes(data)
    assert asyncio.run(keys_in(store)) == KEYS[:-1]
    assert asyncio.run(keys_in(store)) == KEYS[:-1]
