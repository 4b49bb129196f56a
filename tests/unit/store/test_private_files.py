"""A store's files are its owner's alone, whatever the umask is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import Write
from rube.store import RealStorage
from rube.store.maintenance import FileTarget

KINDS = ["sqlite", "rocksdb"]


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def looser_than_private(directory: Path) -> list[str]:
    return [
        f"{path.name} {path.stat().st_mode & 0o777:o}" for path in directory.rglob("*") if path.stat().st_mode & 0o77
    ]


async def fill(url: str) -> list[str]:
    """The files that others may read while it is open."""
    engine = await RealStorage().open(url)
    await engine.commit([Write(number.to_bytes(8, "big"), bytes(100)) for number in range(1000)])
    await engine.checkpoint(url.partition("///")[2] + "-copy")
    list(engine.scan(b"", b"\xff"))
    found = looser_than_private(Path(url.partition("///")[2]).parent)
    await engine.close()
    return found


def test_a_sqlite_store_is_private_with_all_that_is_beside_it(tmp_path: Path) -> None:
    assert asyncio.run(fill(f"sqlite:///{tmp_path}/new/deeper/store.db")) == []
    names = {path.name for path in (tmp_path / "new" / "deeper").iterdir()}
    assert {"store.db", "store.db.lock"} <= names


def test_nobody_else_may_enter_the_directory_of_a_rocksdb_store(tmp_path: Path) -> None:
    asyncio.run(fill(f"rocksdb:///{tmp_path}/new/store"))
    for name in ("new", "new/store", "new/store-copy"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_looser_store_is_closed_at_its_next_start_and_that_is_said(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store = tmp_path / "store"
    asyncio.run(fill(f"{kind}:///{store}"))
    for path in tmp_path.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    tmp_path.chmod(0o755)

    async def main() -> None:
        engine = await RealStorage().open(f"{kind}:///{store}")
        await engine.commit([Write(b"a", b"")])
        found = looser_than_private(store) if kind == "rocksdb" else []
        assert [name for name in found if name.startswith("RUBE")] == []
        for path in [store, *tmp_path.glob("store-wal"), *tmp_path.glob("store-shm"), *tmp_path.glob("store.lock")]:
            assert path.stat().st_mode & 0o77 == 0, path
        await engine.close()

    asyncio.run(main())
    assert f"{store} could be read by others" in caplog.text
    assert tmp_path.stat().st_mode & 0o777 == 0o755, "a directory that was there before stays"


@pytest.mark.parametrize("content", [b"[[package]]\n" * 9, b"1\n", b"RUBE"])
def test_a_lock_file_of_another_program_is_neither_written_nor_changed(tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "poetry.lock"
    other.write_bytes(content)
    other.chmod(0o644)
    with pytest.raises(
        FailedPreconditionError, match=r"poetry\.lock does not belong to a store of Rube's.*another name"
    ):
        asyncio.run(RealStorage().open(f"sqlite:///{tmp_path}/poetry"))
    assert other.read_bytes() == content
    assert other.stat().st_mode & 0o777 == 0o644
    assert not (tmp_path / "poetry").exists()


def test_a_backup_is_private_also_one_that_was_killed_before(tmp_path: Path) -> None:
    (tmp_path / "b.partial").write_bytes(b"killed")
    (tmp_path / "b.partial").chmod(0o644)
    for name in ("a", "b"):
        target = FileTarget(tmp_path / name)
        target.write(b"secret")
        assert looser_than_private(tmp_path) == ["b.partial 644"] * (name == "a")
        target.finish()
    assert looser_than_private(tmp_path) == []
