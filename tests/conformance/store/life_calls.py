"""The calls that tests of backup, restore, verify and migrate share."""

from __future__ import annotations

import io
from typing import Protocol

from rube.host import Host
from rube.store import Op, Record, Store, Txn, open_store, parse_store_url
from rube.store.backends import Checked, StoreStat, backend_of
from rube.store.maintenance import StreamSource, StreamTarget, back_up, restore
from rube.store.maintenance.copy import Copied

ALL = (b"\x00", b"\xff" * 16)


class Place(Protocol):
    """A site, as far as these tests use it."""

    host: Host

    def url(self, name: str = "data") -> str: ...


def unseen(done: int, total: int) -> None:
    """Progress that is not looked at."""
    assert done <= total or total == 0


async def fill(store: Store) -> None:
    """Keys of all kinds, with several versions, some deleted."""
    for number in range(3):
        await store.commit(Txn((Op(b"changed", b"%d" % number), Op(b"big", b"%d" % number * 200_000))))
    await store.commit(Txn(tuple(Op(b"many/%03d" % number, b"x" * number) for number in range(100))))
    await store.commit(Txn((Op(b"gone", b""), Op(b"\x00", b"nul"), Op(b"\xff" * 8, b"\xff"), Op(b"empty", b""))))
    await store.commit(Txn((Op(b"gone", None), Op(b"many/000", None), Op(b"changed/\n\x80", b"new"))))
    await store.commit(Txn((Op(b"many/001", None),)))
    await store.commit(Txn((Op(b"many/001", b"again"),)))


async def records_of(store: Store) -> list[Record]:
    return (await store.range(*ALL)).records


async def backup_of(site: Place, name: str = "data") -> tuple[bytes, Copied]:
    file = io.BytesIO()
    copied = await back_up(site.host, site.url(name), StreamTarget(file, "FILE"), unseen)
    return file.getvalue(), copied


async def restored(site: Place, backup: bytes, name: str = "data") -> str:
    """The id of the store that is now there."""
    _, store_id = await restore(site.host, StreamSource(io.BytesIO(backup), "FILE"), site.url(name), unseen)
    return store_id


async def opened(site: Place, name: str = "data") -> Store:
    return await open_store(site.host, site.url(name))


async def stat_of(site: Place, name: str = "data") -> StoreStat:
    url = parse_store_url(site.url(name))
    return await backend_of(url).stat(site.host, url)


async def checks_of(site: Place, name: str = "data") -> list[Checked]:
    url = parse_store_url(site.url(name))
    return [checked async for checked in backend_of(url).verify(site.host, url)]


async def damage_of(site: Place, name: str = "data") -> list[str]:
    return [f"{c.damage.where}: {c.damage.what}" for c in await checks_of(site, name) if c.damage is not None]
