"""Copies of a SQLite store, and how a copy takes a store's place."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rube.api.errors import InvalidArgumentError, RubeError
from rube.host import Host
from rube.store.engines.sqlite import copy_database
from rube.store.mvcc.recovery import renew_store_id
from rube.store.urls import parse_store_url

__all__ = ["back_up", "restore"]


async def back_up(url: str, target: Path) -> None:
    """Writes a consistent copy of the store to the new file `target`, durably; a server may have the store open.

    Raises FailedPreconditionError if there is no such store, or the target exists already.
    """
    await asyncio.to_thread(copy_database, _file_of(url), target)


async def restore(host: Host, backup: Path, url: str) -> str:
    """Makes a store at `url`, where there must be none, of a copy. Returns its store id.

    That is a new one: clients that had seen more than the backup holds list again, instead of taking the revisions
    that will be given a second time for those they know. Every row is checked: DataLossError if one is damaged, and
    nothing is left at `url` then.
    """
    path = _file_of(url)
    await asyncio.to_thread(copy_database, backup, path)
    try:
        engine = await host.storage.open(url)
        try:
            return await renew_store_id(engine, host.random)
        finally:
            await engine.close()
    except RubeError:
        path.unlink()
        raise


def _file_of(url: str) -> Path:
    parsed = parse_store_url(url)
    if parsed.scheme != "sqlite":
        raise InvalidArgumentError(f"store {parsed} is no file: back up and restore work on sqlite:///path")
    return Path(parsed.path)
