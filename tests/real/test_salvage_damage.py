"""Bytes of a store's files that change by themselves: never a wrong answer, and salvage gets back what is whole."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
from pathlib import Path

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.cli.local import APISERVER, run
from rube.cli.real_host import real_host
from rube.store import Op, RealStorage, Record, Store, Txn, open_store
from rube.store.engines.sqlite_tables import PAGE_BYTES
from rube.store.maintenance import Salvaged, salvage

CASES = int(os.environ.get("RUBE_DAMAGE_CASES", "25"))
SEED = os.environ.get("RUBE_TEST_SEED", "1")
STORE = (*APISERVER[:-1], "store")
ALL = (b"\x00", b"\xff")
NO_DATA = ("-shm", ".lock", "LOCK", "ACKNOWLEDGED", "LOG")
"""Not of the data: what SQLite and RocksDB make anew, and the acknowledged mark."""
Expected = dict[bytes, Record]


async def fill(store: Store) -> None:
    """Old history and newer, deletes, values of some bytes to several pages."""
    chance = random.Random(3)

    def write(size: int) -> Txn:
        key = b"k/%03d" % chance.randrange(150)
        return Txn((Op(key, chance.randbytes(size) if chance.random() < 0.85 else None),))

    for _ in range(300):
        await store.commit(write(chance.choice([20, 300, 900, 9000, 30000])))
    await store.compact(store.revision // 2)
    for _ in range(120):
        await store.commit(write(500))


async def state_of(store: Store) -> Expected:
    return {record.key: record for record in (await store.range(*ALL)).records}


@pytest.fixture(scope="module", params=["sqlite", "sqlite-wal", "rocksdb", "rocksdb-wal"])
def dead(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Expected]:
    """The scheme, a directory, and what is in the store in there: closed in good order, or killed (-wal)."""
    directory = tmp_path_factory.mktemp("dead")
    scheme, _, killed = str(request.param).partition("-")

    async def main() -> Expected:
        store = await open_store(real_host(), f"{scheme}:///{directory}/open/store")
        await fill(store)
        if killed:
            shutil.copytree(directory / "open", directory / "dead")
        expected = await state_of(store)
        await store.close()
        return expected

    expected = asyncio.run(main())
    if not killed:
        shutil.copytree(directory / "open", directory / "dead")
    return scheme, directory / "dead", expected


def flip(directory: Path, chance: random.Random) -> tuple[Path, bytes]:
    """Changes one bit somewhere; gives the file and its bytes then."""
    files = [
        path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.stat().st_size and not path.name.endswith(NO_DATA)
    ]
    victim = chance.choices(files, weights=[path.stat().st_size for path in files])[0]
    data = bytearray(victim.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    victim.write_bytes(data)
    return victim, bytes(data)


async def check_served(url: str, expected: Expected) -> None:
    """An answer is right; a key without one is in the report."""
    told: list[tuple[RubeError, str]] = []
    try:
        store = await open_store(real_host(), url)
    except (DataLossError, FailedPreconditionError) as error:
        told.append((error, "store"))
    else:
        told += await losses_of(store, expected)
    for failure, name in told:
        assert name in failure.message
        assert "rube store salvage" in failure.message or isinstance(failure, FailedPreconditionError), failure


async def losses_of(store: Store, expected: Expected) -> list[tuple[RubeError, str]]:
    """The report names keys one by one; the others are as they were."""
    told: list[tuple[RubeError, str]] = []
    try:
        for key, record in expected.items():
            try:
                assert (await store.get([key])).records == [record]
            except DataLossError as error:
                told.append((error, repr(key)))
        assert (await store.get([b"k/none"])).records == [None]
    finally:
        await store.close()
    return told


def check_salvaged(told: Salvaged, found: Expected, expected: Expected) -> None:
    named = {value.key for value in told.values}
    unknown = any(".log is damaged" in finding for finding in told.findings)  # RocksDB's
    for key, record in expected.items():
        if found.get(key) == record or key in named:
            continue
        # It was last written by one of the writes that are named as lost; what is kept of it is older.
        revision = record.mod_revision
        assert unknown or any(lost.first_revision <= revision <= lost.last_revision for lost in told.writes), key
        assert key not in found or found[key].mod_revision < record.mod_revision
    for key in found.keys() - expected.keys():  # its deletion is lost
        assert unknown or any(lost.last_revision > found[key].mod_revision for lost in told.writes), key
    if found != expected:
        assert told.lost


def test_one_damaged_bit_is_never_a_wrong_answer_and_costs_what_it_hits(
    dead: tuple[str, Path, Expected], tmp_path: Path
) -> None:
    scheme, directory, expected = dead
    chance = random.Random(f"{SEED}/{scheme}/salvage")
    host, whole = real_host(), 0
    for case in range(CASES):
        copy = tmp_path / f"{case}"
        shutil.copytree(directory, copy)
        victim, damaged = flip(copy, chance)
        asyncio.run(check_served(f"{scheme}:///{copy}/store", expected))
        shutil.rmtree(copy)
        shutil.copytree(directory, copy)
        (copy / victim.relative_to(copy)).write_bytes(damaged)

        async def main(url: str, to: str) -> tuple[Salvaged, Expected]:
            told = await salvage(host, RealStorage(), url, to, lambda done, total: None)
            store = await open_store(host, to)
            try:
                return told, await state_of(store)
            finally:
                await store.close()

        told, found = asyncio.run(main(f"{scheme}:///{copy}/store", f"sqlite:///{copy}/new/store"))
        check_salvaged(told, found, expected)
        if scheme == "sqlite":
            assert len(expected) - len(found) <= 1 or told.writes, f"case {case}: one bit of {victim.name}"
        whole += found == expected
        assert victim.read_bytes() == damaged, "the damaged store is not changed"
        assert not list(copy.glob("*.salvage-*"))
        shutil.rmtree(copy)
    assert whole > CASES // 10


@pytest.mark.parametrize("kind", ["sqlite", "rocksdb"])
def test_much_damage_costs_much_and_nothing_else(tmp_path: Path, kind: str) -> None:
    """A zeroed sector here and there, also in the first page and in what says which files there are."""
    host = real_host()
    chance = random.Random(f"{SEED}/{kind}/much")

    async def make() -> Expected:
        store = await open_store(host, f"{kind}:///{tmp_path}/sound/store")
        await fill(store)
        expected = await state_of(store)
        await store.close()
        return expected

    expected = asyncio.run(make())
    for case in range(max(4, CASES // 5)):
        copy = tmp_path / f"{case}"
        shutil.copytree(tmp_path / "sound", copy)
        files = [path for path in sorted(copy.rglob("*")) if path.is_file() and path.stat().st_size]
        for victim in files if case % 2 else files[-1:]:
            data = bytearray(victim.read_bytes())
            start = 0 if case % 4 == 1 else chance.randrange(len(data)) // 512 * 512
            data[start : start + 512] = bytes(len(data[start : start + 512]))
            victim.write_bytes(data)

        async def main(url: str, to: str) -> Expected:
            await salvage(host, RealStorage(), url, to, lambda done, total: None)
            store = await open_store(host, to)
            try:
                return await state_of(store)
            finally:
                await store.close()

        asyncio.run(check_served(f"{kind}:///{copy}/store", expected))
        try:
            found = asyncio.run(main(f"{kind}:///{copy}/store", f"sqlite:///{copy}/new/store"))
        except RubeError:
            if kind == "sqlite":
                raise
            continue  # all of its tables may be gone
        for key, record in found.items():
            assert key not in expected or record.mod_revision < expected[key].mod_revision or record == expected[key]
        if kind == "sqlite":
            assert len(found) > len(expected) * 3 // 4


@pytest.mark.parametrize("change", ["current gone", "current astray", "manifest gone"])
def test_tables_that_the_database_does_not_find_any_more_are_salvaged(tmp_path: Path, change: str) -> None:
    """RocksDB would begin anew, or call it a directory that it may not write to."""
    store, url = tmp_path / "store", f"rocksdb:///{tmp_path}/store"

    async def make() -> Expected:
        made = await open_store(real_host(), url)
        await fill(made)
        expected = await state_of(made)
        await made.close()
        return expected

    async def main() -> Expected:
        with pytest.raises(DataLossError, match=r"is damaged.*rube store salvage"):
            await open_store(real_host(), url)
        told = await salvage(real_host(), RealStorage(), url, f"sqlite:///{tmp_path}/new", lambda done, total: None)
        assert told.lost, "a newer manifest may have named more"
        assert told.uncertain == told.kept
        made = await open_store(real_host(), f"sqlite:///{tmp_path}/new")
        try:
            return await state_of(made)
        finally:
            await made.close()

    expected = asyncio.run(make())
    if change == "current astray":
        (store / "CURRENT").write_text("MANIFEST-999999\n")
    else:
        next(store.glob("CURRENT" if change == "current gone" else "MANIFEST-*")).unlink()
    assert asyncio.run(main()) == expected


def test_where_the_newest_page_is_lost_all_that_is_kept_is_said_to_be_perhaps_older(tmp_path: Path) -> None:
    """No gap in the revisions tells of writes behind the last one that is left."""
    path = tmp_path / "store.db"

    async def make() -> None:
        made = await open_store(real_host(), f"sqlite:///{path}")
        for round_ in range(2):
            for number in range(12):
                await made.commit(Txn((Op(b"unit/%02d" % number, b"value %d " % round_ * 110),)))
        await made.close()

    async def main() -> None:
        url, new = f"sqlite:///{path}", f"sqlite:///{tmp_path}/new.db"
        code, output = await run([*STORE, "salvage", url, new])
        assert code == 3, output
        newest = int(re.findall(r"12 objects at revision (\d+)", output)[0])
        assert 12 <= newest < 24
        assert f"writes newer than revision {newest} may be lost, and their keys are unknown" in output
        assert "12 keys were last written before a write that is lost, or that may be" in output

    asyncio.run(make())
    data = path.read_bytes()
    page = data.rindex(b"value 1 ") // PAGE_BYTES * PAGE_BYTES
    path.write_bytes(data[:page] + random.Random(1).randbytes(PAGE_BYTES) + data[page + PAGE_BYTES :])
    asyncio.run(main())


def test_the_command_tells_people_and_programs_what_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "store.db"

    async def make() -> None:
        store = await open_store(real_host(), f"sqlite:///{path}")
        for number in range(10):
            await store.commit(Txn((Op(b"unit/%d" % number, b"value %d " % number * 40),)))
        await store.close()

    async def main() -> None:
        url = f"sqlite:///{path}"
        code, output = await run([*STORE, "salvage", url, f"sqlite:///{tmp_path}/whole.db"])
        assert code == 0, output
        assert "10 objects at revision 10" in output
        data = bytearray(path.read_bytes())
        data[data.index(b"value 7 ") + 20] ^= 1
        path.write_bytes(data)
        code, output = await run([*STORE, "verify", url])
        assert code == 1
        assert "revision 8, key b'unit/7'" in output
        assert "rube store salvage" in output
        code, output = await run([*STORE, "salvage", url, f"sqlite:///{tmp_path}/people.db"])
        assert code == 3, output
        assert "unit/7: its newest value, of revision 8, is lost" in output
        assert "9 objects at revision 10" in output
        code, output = await run([*STORE, "salvage", "--json", url, f"rocksdb:///{tmp_path}/programs"])
        assert code == 3, output
        told = json.loads(output)
        assert told["lost"] == [{"key": "unit/7", "revision": 8, "older_revision": 0}]
        assert (told["kept"], told["lost_count"], told["lost_writes"]) == (9, 1, [])
        code, output = await run([*STORE, "salvage", url, f"sqlite:///{tmp_path}/people.db"])
        assert code == 1
        assert "holds a store already" in output
        assert "Traceback" not in output
        code, output = await run([*STORE, "salvage", f"raft+{url}", f"sqlite:///{tmp_path}/member.db"])
        assert code == 3, output

    asyncio.run(make())
    asyncio.run(main())
