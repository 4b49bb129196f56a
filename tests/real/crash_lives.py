"""Lives of a store that all end with kill -9: `python -m tests.real.crash_lives URL LIVES SEED`.

One process forks every life from itself, so that a thousand of them take about a minute. A life opens the store, checks
that all that was ever acknowledged is there, whole, and writes until it is killed. Exit code 1 tells of a loss.
"""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import sys
import time

from rube.host import RealClock, RealRandomness
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore
from rube.store.engines.rocksdb import RocksdbEngine  # noqa: F401 (imported once, for all lives)

WRITERS = 8
ACKNOWLEDGED_MAX = 60
DELAY_S_MAX = 0.002
LIFE_S_MAX = 20.0
FIELDS = 3

Acknowledged = dict[int, tuple[int, int]]
"""Writer: the newest attempt that was acknowledged, and its revision."""


async def live(url: str, acknowledged: Acknowledged, output: int, number: int) -> None:
    """Checks, compacts now and then, and writes both keys of each writer at once, until it is killed."""
    store = await MvccStore.open(await RealStorage().open(url), clock=RealClock(), random=RealRandomness())
    await check(store, acknowledged)
    os.write(output, b"ready\n")

    async def write(writer: int) -> None:
        attempt = acknowledged.get(writer, (0, 0))[0]
        while True:
            attempt += 1
            value = b"%d" % attempt
            ops = (Op(b"%d/a" % writer, value), Op(b"%d/b" % writer, value + b" " * 300 * (writer % 3)))
            revision = await store.commit(Txn(ops))
            os.write(output, b"%d %d %d\n" % (writer, attempt, revision))

    async with asyncio.TaskGroup() as group:
        for writer in range(WRITERS):
            group.create_task(write(writer))
        if number % 5 == 0:
            group.create_task(store.compact(store.revision))


async def check(store: MvccStore, acknowledged: Acknowledged) -> None:
    for writer, (attempt, revision) in sorted(acknowledged.items()):
        a, b = (await store.get([b"%d/a" % writer, b"%d/b" % writer])).records
        assert a is not None, f"writer {writer}: attempt {attempt} of revision {revision} is gone"
        assert b is not None, f"writer {writer}: half of attempt {attempt} of revision {revision} is gone"
        assert a.mod_revision == b.mod_revision, f"writer {writer}: half of a transaction is there"
        assert a.value == b.value.strip(), f"writer {writer}: two halves do not match"
        assert int(a.value) >= attempt, f"writer {writer}: attempt {attempt} was acknowledged, {a.value!r} is there"
        assert a.mod_revision >= revision


def one_life(url: str, acknowledged: Acknowledged, number: int, chance: random.Random) -> bool:
    """Returns True if it came so far that it could be killed; adds what it acknowledged."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        try:
            asyncio.run(live(url, acknowledged, write_end, number))
        except BaseException as error:
            print(f"life {number}: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    os.close(write_end)
    wanted = chance.randrange(ACKNOWLEDGED_MAX)
    with open(read_end, "rb") as lines:
        deadline = time.monotonic() + LIFE_S_MAX
        text = b""
        while text.count(b"\n") <= wanted and select.select([lines], [], [], max(0, deadline - time.monotonic()))[0]:
            if not (more := os.read(lines.fileno(), 65536)):
                break
            text += more
        time.sleep(chance.uniform(0, DELAY_S_MAX))
        os.kill(child, signal.SIGKILL)
        text += lines.read()
    _, status = os.waitpid(child, 0)
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        fields = line.split()
        if len(fields) == FIELDS:
            writer, attempt, revision = map(int, fields)
            acknowledged[writer] = (attempt, revision)
    return text.startswith(b"ready\n") and os.WIFSIGNALED(status)


def main(url: str, lives: int, seed: str) -> int:
    acknowledged: Acknowledged = {}
    chance = random.Random(seed)
    started_s = time.monotonic()
    for number in range(lives):
        if not one_life(url, acknowledged, number, chance):
            print(f"life {number} of {lives} (seed {seed}) did not come to its writes: see above", file=sys.stderr)
            return 1
    asyncio.run(_final(url, acknowledged))
    writes = sum(attempt for attempt, _ in acknowledged.values())
    print(f"{lives} lives, {writes} acknowledged writes, none lost, {time.monotonic() - started_s:.0f} s")
    return 0


async def _final(url: str, acknowledged: Acknowledged) -> None:
    store = await MvccStore.open(await RealStorage().open(url), clock=RealClock(), random=RealRandomness())
    await check(store, acknowledged)
    await store.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
