"""Rows in a SQLite file, for tests of its engine."""

from __future__ import annotations

import os
from pathlib import Path

from rube.host import Write
from rube.store.engines import SqliteEngine


def key(number: int) -> bytes:
    return number.to_bytes(8, "big")


async def write_rows(path: Path, count: int) -> None:
    engine = await SqliteEngine.open(path)
    for start in range(0, count, 50):
        await engine.commit([Write(key(number), os.urandom(1024)) for number in range(start, start + 50)])
    await engine.close()
