"""Salvage: all that is whole is in the new store, and the rest is named by key and revision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import cast

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import Wrecks, Write
from rube.store import Op, Record, Txn
from rube.store.engines.sqlite_files import Access
from rube.store.maintenance import Salvaged, salvage
from rube.store.mvcc.log import log_key, position_of
from rube.store.mvcc.recovery import COMPACT_KEY, LOG_RANGE, STORE_ID_KEY
from rube.store.mvcc.salvage import LostValue, LostWrites
from tests.conformance.store.life_calls import damage_of, fill, opened, records_of, unseen
from tests.conformance.store.store_sites import EngineSite, SimSqliteSite, SqliteSite, open_store

Rows = dict[int, bytes]


async def filled(site: EngineSite) -> list[Record]:
    """Revisions 1 to 8; what is newest."""
    store = await open_store(site)
    await fill(store)
    records = await records_of(store)
    await store.close()
    return records


async def damage(site: EngineSite, change: Callable[[Rows], list[Write]]) -> None:
    engine = await site.open_engine()
    await engine.commit(change({int.from_bytes(key, "big"): data for key, data in engine.scan(*LOG_RANGE)}))
    await engine.close()
    if isinstance(site, SqliteSite | SimSqliteSite):  # or what was there before is found, on a page's unused part
        with closing(site.files.connect(site.path(), Access.WRITE)) as connection:
            connection.execute("VACUUM")


def flipped(rows: Rows, position: int) -> Write:
    data = rows[position]
    return Write(log_key(position), data[:-1] + bytes([data[-1] ^ 1]))


async def salvaged(site: EngineSite, *, older: bool = False) -> tuple[Salvaged, list[Record]]:
    """The report, and the contents of the new store."""
    told = await salvage(site.host, cast(Wrecks, site.host.storage), site.url(), site.url("new"), unseen, older=older)
    store = await opened(site, "new")
    try:
        assert store.store_id == told.store_id
        records = await records_of(store)
        assert told.kept == len(records)
        assert store.revision == told.revision
        await store.commit(Txn((Op(b"more", b""),)))
    finally:
        await store.close()
    assert await damage_of(site, "new") == []
    return told, records


async def test_of_a_sound_store_nothing_is_lost(engine_site: EngineSite) -> None:
    records = await filled(engine_site)
    told, kept = await salvaged(engine_site)
    assert kept == records
    assert not told.lost
    assert (told.values, told.writes, told.findings, told.history, told.uncertain) == ([], [], [], 0, 0)
    assert told.store_id != told.source_id
    assert len(told.source_id) == 32


async def test_of_a_compacted_store_nothing_that_was_deleted_comes_back(engine_site: EngineSite) -> None:
    store = await open_store(engine_site)
    await fill(store)
    for number in range(100, 200):
        await store.commit(Txn((Op(b"many/%03d" % (number - 100), None), Op(b"big", b"%d" % number * 3000))))
        if number % 10 == 0:
            await store.compact(store.revision)
    records = await records_of(store)
    await store.close()
    told, kept = await salvaged(engine_site)
    assert kept == records
    assert not told.lost


async def test_a_lost_newest_value_is_named_and_the_rest_kept(engine_site: EngineSite) -> None:
    records = await filled(engine_site)
    await damage(engine_site, lambda rows: [flipped(rows, position_of(3)), flipped(rows, position_of(4, 77))])
    told, kept = await salvaged(engine_site)
    assert told.values == [LostValue(b"changed", 3, 2), LostValue(b"many/077", 4, 0)]
    assert told.values_lost == 2
    assert told.lost
    assert kept == [record for record in records if record.key not in (b"changed", b"many/077")]
    assert told.uncertain == 0


async def test_an_older_value_takes_its_place_where_that_is_asked_for(engine_site: EngineSite) -> None:
    records = await filled(engine_site)
    await damage(engine_site, lambda rows: [flipped(rows, position_of(2)), flipped(rows, position_of(3))])
    told, kept = await salvaged(engine_site, older=True)
    assert told.values == [LostValue(b"changed", 3, 1)]
    assert told.older == 1
    assert told.lost
    assert [(record.key, record.value, record.mod_revision) for record in kept if record.key == b"changed"] == [
        (b"changed", b"0", 1)
    ]
    assert len(kept) == len(records)


async def test_damaged_history_is_no_loss(engine_site: EngineSite) -> None:
    records = await filled(engine_site)
    await damage(engine_site, lambda rows: [flipped(rows, position_of(1)), flipped(rows, position_of(1, 1))])
    told, kept = await salvaged(engine_site)
    assert kept == records
    assert told.history == 2
    assert not told.lost


async def test_writes_of_unknown_keys_are_told_by_revision_with_the_keys_that_may_be_older(
    engine_site: EngineSite,
) -> None:
    await filled(engine_site)
    garbled = b"\xa5\x5a\x33"

    def change(rows: Rows) -> list[Write]:
        data = rows[position_of(3)]
        return [
            Write(log_key(position_of(3)), data[:6] + garbled + data[9:]),
            *(Write(log_key(position), None) for position in rows if position >> 16 == 6),
            Write(log_key(position_of(7)), None),
        ]

    await damage(engine_site, change)
    told, kept = await salvaged(engine_site)
    assert told.writes == [LostWrites(3, 3, b"changed"), LostWrites(6, 7, b"")]
    found = {record.key: record for record in kept}
    assert found[b"changed"].mod_revision == 2, "the newest that is left"
    assert b"gone" in found, "its deletion is lost"
    assert told.uncertain == sum(record.mod_revision <= 7 for record in kept)
    assert told.lost


@pytest.mark.parametrize(("key", "told_of"), [(STORE_ID_KEY, ""), (COMPACT_KEY, "compaction mark is lost")])
async def test_a_damaged_header_costs_no_key(engine_site: EngineSite, key: bytes, told_of: str) -> None:
    records = await filled(engine_site)
    await damage(engine_site, lambda _: [Write(key, b"\0\0\0\0?")])
    told, kept = await salvaged(engine_site)
    assert kept == records
    assert told_of in "".join(told.findings)


async def test_where_there_is_no_store_or_one_already_nothing_is_made(engine_site: EngineSite) -> None:
    with pytest.raises(FailedPreconditionError, match="there is no store"):
        await salvaged(engine_site)
    await filled(engine_site)
    await salvaged(engine_site)
    with pytest.raises(FailedPreconditionError, match="holds a store already"):
        await salvaged(engine_site)


async def test_what_a_server_keeps_is_not_salvaged(engine_site: EngineSite) -> None:
    with pytest.raises(FailedPreconditionError, match="kept by a server"):
        await salvage(
            engine_site.host, cast(Wrecks, engine_site.host.storage), "etcd://a:1", engine_site.url("new"), unseen
        )
