"""A store whose process was killed with much in its tables and much in its log: `python -m tests.real.dead_store URL`.

Prints the acknowledged revision of every key as `key revision`, then ends as kill -9 would end it.
"""

from __future__ import annotations

import asyncio
import os
import sys

from rube.host import RealClock, RealRandomness
from rube.store import Op, RealStorage, Txn
from rube.store.embedded import MvccStore

KEYS = 120
ROUNDS = 3


def value_of(key: bytes, number: int) -> bytes:
    return b"%s was written as number %d;" % (key, number) * 20


async def main(url: str) -> None:
    for life in range(2):
        store = await MvccStore.open(await RealStorage().open(url), clock=RealClock(), random=RealRandomness())
        for number in range(life * ROUNDS, (life + 1) * ROUNDS):
            for key in (b"key-%03d" % index for index in range(number, KEYS, number + 1)):
                revision = await store.commit(Txn((Op(key, value_of(key, number)),)))
                os.write(1, b"%s %d %d\n" % (key, revision, number))
        if life == 0:
            await store.compact(store.revision // 3)
            await store.close()  # moves the log into the tables
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
