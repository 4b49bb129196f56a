"""Bytes on the disk that change by themselves: an acknowledged write is found again, or its loss is named."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rube.api.errors import DataLossError, FailedPreconditionError, RubeError
from rube.host import RealClock, RealRandomness
from rube.store import RealStorage
from rube.store.embedded import MvccStore
from tests.real.dead_store import value_of

CASES = int(os.environ.get("RUBE_DAMAGE_CASES", "25"))
SEED = os.environ.get("RUBE_TEST_SEED", "1")
Expected = dict[bytes, tuple[int, bytes]]


def flip(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def zero(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data)) // 512 * 512
    data[start : start + 512] = bytes(len(data[start : start + 512]))


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def garble(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data))
    data[start : start + 64] = chance.randbytes(len(data[start : start + 64]))


DAMAGE: dict[str, Callable[[bytearray, random.Random], None]] = {
    "flip": flip,
    "zero": zero,
    "cut": cut,
    "garble": garble,
}


@pytest.fixture(scope="module", params=["rocksdb", "sqlite"])
def dead(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Expected]:
    """The scheme, the directory, and what was acknowledged."""
    directory = tmp_path_factory.mktemp("dead")
    url = f"{request.param}:///{directory}/store"
    ended = subprocess.run([sys.executable, "-m", "tests.real.dead_store", url], stdout=subprocess.PIPE, check=True)
    expected: Expected = {}
    for line in ended.stdout.splitlines():
        key, revision, number = line.split()
        expected[key] = (int(revision), value_of(key, int(number)))
    return request.param, directory, expected


async def read_all(url: str) -> Expected:
    store = await MvccStore.open(await RealStorage().open(url), clock=RealClock(), random=RealRandomness())
    try:
        page = await store.range(b"", b"\xff")
        return {record.key: (record.mod_revision, record.value) for record in page.records}
    finally:
        await store.close()


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_told_or_harmless_and_never_read(dead: tuple[str, Path, Expected], tmp_path: Path, kind: str) -> None:
    scheme, directory, expected = dead
    chance = random.Random(f"{SEED}/{scheme}/{kind}")
    told = 0
    for case in range(CASES):
        copy = tmp_path / f"{case}"
        shutil.copytree(directory, copy)
        files = sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size)
        victim = chance.choice(files)
        data = bytearray(victim.read_bytes())
        DAMAGE[kind](data, chance)
        unchanged = bytes(data) == victim.read_bytes()
        victim.write_bytes(data)
        failure: RubeError | None = None
        try:
            found = asyncio.run(read_all(f"{scheme}:///{copy}/store"))
        except RubeError as error:
            failure = error
            told += 1
        else:
            assert found == expected, f"case {case}: {kind} in {victim.name} changed what is read, and no error said so"
        if failure is not None:
            assert isinstance(failure, DataLossError | FailedPreconditionError), failure
            assert str(copy) in failure.message or "revision" in failure.message, failure
            assert not unchanged, failure
        shutil.rmtree(copy)
    assert told > CASES // 10


def test_a_log_that_lost_its_end_is_told_and_a_torn_one_is_not(
    dead: tuple[str, Path, Expected], tmp_path: Path
) -> None:
    """The commits that the mark knows of are missed; a commit that it does not know of was never acknowledged."""
    scheme, directory, expected = dead
    for torn in (False, True):
        copy = tmp_path / f"torn-{torn}"
        shutil.copytree(directory, copy)
        log = max([*copy.rglob("*.log"), *copy.rglob("*-wal")])
        data = log.read_bytes()
        log.write_bytes(data + data[-700:-350] + bytes(600) if torn else data[: len(data) // 2])
        if torn:
            assert asyncio.run(read_all(f"{scheme}:///{copy}/store")) == expected
        else:
            for _ in range(2):  # and again at the next start
                with pytest.raises(DataLossError, match=r"were acknowledged.*restore a backup.*remove"):
                    asyncio.run(read_all(f"{scheme}:///{copy}/store"))
            if scheme == "sqlite":
                assert log.read_bytes() == data[: len(data) // 2], "what is left stays for those who want to look at it"
