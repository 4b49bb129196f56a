"""Damage to the files of SQLite and RocksDB, as `verify` reports it."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

from rube.cli.real_host import real_host
from rube.host import Write
from rube.store import Op, Txn, open_store, parse_store_url
from rube.store.backends import backend_of
from rube.store.engines import SqliteEngine
from rube.store.engines.sqlite_tables import PAGE_BYTES


def verified(path: Path, kind: str = "sqlite") -> tuple[int, list[str]]:
    """The number of rows that were read, and all damage."""

    async def main() -> tuple[int, list[str]]:
        url = parse_store_url(f"{kind}:///{path}")
        found = [checked async for checked in backend_of(url).verify(real_host(), url)]
        return found[-1].records, [f"{c.damage.where}: {c.damage.what}" for c in found if c.damage]

    return asyncio.run(main())


def filled(path: Path, kind: str = "sqlite") -> Path:
    """A store with 1,000 rows, ten a revision."""

    async def main() -> None:
        store = await open_store(real_host(), f"{kind}:///{path}")
        for number in range(100):
            await store.commit(Txn(tuple(Op(b"%d/%d" % (number, place), b"x" * 500) for place in range(10))))
        await store.close()

    asyncio.run(main())
    return path


def overwrite(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\x5a" * PAGE_BYTES)


def test_what_a_damaged_page_held_is_named_by_its_revisions_and_the_rest_is_read(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db")
    pages = path.stat().st_size // PAGE_BYTES
    overwrite(path, pages // 2)
    records, damage = verified(path)
    assert 950 < records < 1000
    assert any("cannot be read" in line and line.startswith("revisions ") for line in damage), damage
    assert any(str(path) in line and "page" in line.lower() for line in damage), damage


def test_a_file_that_was_cut_short_or_is_no_database_is_damage(tmp_path: Path) -> None:
    path = filled(tmp_path / "a.db")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
    assert verified(path)[1]
    overwrite(path, 0)
    records, damage = verified(path)
    assert records == 0
    assert len(damage) == 1
    assert "restore a backup" in damage[0]


def test_a_log_that_lost_acknowledged_commits_is_damage(tmp_path: Path) -> None:
    path, other = tmp_path / "a.db", tmp_path / "b.db"

    async def main() -> None:
        engine = await SqliteEngine.open(path)
        await engine.commit([Write(b"a", b"1")])
        shutil.copy(path, other)
        shutil.copy(f"{path}-wal", f"{other}-wal")
        await engine.commit([Write(b"a", b"2")])
        shutil.copy(f"{path}.lock", f"{other}.lock")
        await engine.close()

    asyncio.run(main())
    damage = verified(other)[1]
    assert [line for line in damage if "commits were acknowledged" in line], damage


def test_what_a_damaged_block_of_a_table_held_is_lost_and_no_more(tmp_path: Path) -> None:
    path = filled(tmp_path / "a", "rocksdb")
    asyncio.run(opened_and_closed(path))  # what its log holds becomes a table
    table = max(path.glob("*.sst"), key=lambda table: table.stat().st_size)
    with table.open("r+b") as file:
        file.seek(table.stat().st_size // 2)
        file.write(b"\x5a" * 100)
    records, damage = verified(path, "rocksdb")
    assert 950 < records < 1000
    assert len(damage) == 1, damage
    assert re.match(r"(a part of revision|revisions) \d+.*cannot be read: .*block checksum mismatch", damage[0])


async def opened_and_closed(path: Path) -> None:
    await (await open_store(real_host(), f"rocksdb:///{path}")).close()
