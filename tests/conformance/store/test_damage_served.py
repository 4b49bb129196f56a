"""A store with damaged rows: history does not stop the present, and readers of a lost value get an error."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pytest

from rube.api.errors import CompactedError, DataLossError
from rube.host import Write
from rube.store import Op, Store, Txn
from rube.store.maintenance import StreamTarget, back_up, migrate
from rube.store.mvcc.log import log_key, position_of
from rube.store.mvcc.recovery import LOG_RANGE
from tests.conformance.store.life_calls import damage_of, records_of, restored, unseen
from tests.conformance.store.store_sites import EngineSite, open_store

ALL = (b"\x00", b"\xff" * 16)


async def filled(site: EngineSite) -> None:
    """Revisions 1 to 6."""
    store = await open_store(site)
    for value in (b"one", b"two", b"three"):
        await store.commit(Txn((Op(b"a", value),)))
    await store.commit(Txn((Op(b"b", b"one"),)))
    await store.commit(Txn((Op(b"c", b"one"), Op(b"d", b"one"))))
    await store.commit(Txn((Op(b"c", None),)))
    await store.close()


async def damage(site: EngineSite, *positions: int, change: Callable[[bytes], bytes] | None = None) -> None:
    """Changes rows below the store: their last byte, unless told."""
    engine = await site.open_engine()
    rows = {int.from_bytes(key, "big"): data for key, data in engine.scan(*LOG_RANGE)}
    for position in positions:
        data = rows[position]
        changed = change(data) if change else data[:-1] + bytes([data[-1] ^ 1])
        await engine.commit([Write(log_key(position), changed)])
    await engine.close()


async def changes_after(store: Store, revision: int, keys: tuple[bytes, bytes] = ALL) -> Sequence[int]:
    found: list[int] = []
    async for batch in store.watch(*keys, after_revision=revision):
        found += [change.record.mod_revision for change in batch.changes]
        if batch.revision == store.revision:
            break
    return found


async def test_damaged_history_does_not_stop_the_present(
    engine_site: EngineSite, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(engine_site)
    before = await open_store(engine_site)
    records = await records_of(before)
    await before.close()
    await damage(engine_site, position_of(1), position_of(2))
    store = await open_store(engine_site)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1, "one line, however many rows"
    assert "2 rows are damaged, all of them history" in warnings[0]
    assert await records_of(store) == records
    assert [record.value for record in (await store.range(*ALL, revision=3)).records] == [b"three"]
    with pytest.raises(DataLossError, match=r"revision 2 \(key b'a'\)"):
        await store.range(*ALL, revision=2)
    with pytest.raises(DataLossError, match=r"revision 2 \(key b'a'\)"):
        await changes_after(store, 1)
    assert await changes_after(store, 1, (b"b", b"z")) == [4, 5, 5, 6], "who watches another key is not concerned"
    assert await changes_after(store, 3) == [4, 5, 5, 6]
    await store.close()
    assert [line.split(":")[0] for line in await damage_of(engine_site)] == [
        "revision 1, key b'a'",
        "revision 2, key b'a'",
    ]


async def test_a_change_whose_past_is_damaged_is_lost_with_it(engine_site: EngineSite) -> None:
    await filled(engine_site)
    await damage(engine_site, position_of(2))
    store = await open_store(engine_site)
    with pytest.raises(DataLossError, match="revision 2"):
        await changes_after(store, 2)
    await store.close()


async def test_backup_and_migration_of_a_damaged_history_are_whole(engine_site: EngineSite) -> None:
    await filled(engine_site)
    store = await open_store(engine_site)
    records = await records_of(store)
    await store.close()
    await damage(engine_site, position_of(1), position_of(2))
    file = io.BytesIO()
    await back_up(engine_site.host, engine_site.url(), StreamTarget(file, "FILE"), unseen)
    await restored(engine_site, file.getvalue(), "restored")
    await migrate(engine_site.host, engine_site.url(), engine_site.url("moved"), unseen)
    for name in ("restored", "moved"):
        engine = await engine_site.open_engine(name, read_only=True)
        await engine.close()
        assert await damage_of(engine_site, name) == []
    assert len(records) == 3


async def test_compaction_removes_damaged_history(engine_site: EngineSite) -> None:
    await filled(engine_site)
    await damage(engine_site, position_of(1), position_of(2), position_of(5))
    store = await open_store(engine_site)
    await store.compact(6)
    with pytest.raises(CompactedError):
        await store.range(*ALL, revision=2)
    assert [record.key for record in await records_of(store)] == [b"a", b"b", b"d"]
    await store.close()
    assert await damage_of(engine_site) == []


async def test_a_damaged_newest_value_is_its_readers_loss_alone(
    engine_site: EngineSite, caplog: pytest.LogCaptureFixture
) -> None:
    await filled(engine_site)
    await damage(engine_site, position_of(3))
    store = await open_store(engine_site)
    assert "reads of them fail: b'a' of revision 3: `rube store salvage`" in caplog.text
    for call in (store.get([b"a"]), store.range(*ALL), store.range(b"a", None)):
        with pytest.raises(DataLossError, match=r"revision 3 \(key b'a'\).*rube store salvage") as caught:
            await call
        assert caught.value.metadata["revision"] == "3"
    assert [record.key for record in (await store.range(b"b", b"z")).records] == [b"b", b"d"]
    assert await store.commit(Txn((Op(b"b", b"two"),))) == 7
    assert await changes_after(store, 6) == [7]
    await store.close()
    with pytest.raises(DataLossError, match="revision 3"):
        await back_up(engine_site.host, engine_site.url(), StreamTarget(io.BytesIO(), "FILE"), unseen)


@pytest.mark.parametrize("place", range(4, 4 + 13 + 1 + 4))
async def test_one_damaged_byte_before_the_value_is_mended(engine_site: EngineSite, place: int) -> None:
    await filled(engine_site)
    await damage(
        engine_site,
        position_of(3),
        position_of(5),
        change=lambda data: data[:place] + bytes([data[place] ^ 0x24]) + data[place + 1 :],
    )
    store = await open_store(engine_site)
    assert [record.value for record in await records_of(store)] == [b"three", b"one", b"one"]
    await store.close()


async def test_a_store_does_not_open_where_it_cannot_know_what_is_newest(engine_site: EngineSite) -> None:
    """A key's older value would be served for its newest."""
    await filled(engine_site)
    await damage(engine_site, position_of(3), change=lambda data: data[:6] + b"\xa5\x5a\x33" + data[9:])
    with pytest.raises(DataLossError, match=r"revision 3 .*rube store salvage"):
        await open_store(engine_site)


async def test_a_store_does_not_open_where_rows_are_missing(engine_site: EngineSite) -> None:
    await filled(engine_site)
    engine = await engine_site.open_engine()
    await engine.commit([Write(log_key(position_of(3)), None)])
    await engine.close()
    with pytest.raises(DataLossError, match=r"rows before revision 4, from 2 on, are missing.*rube store salvage"):
        await open_store(engine_site)
