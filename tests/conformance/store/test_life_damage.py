"""The reports of `verify` on damaged engines: each key by its name, and all others read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import Engine, Write
from rube.store.mvcc.log import decode_row, encode_rows, log_key, position_of
from rube.store.mvcc.recovery import COMPACT_KEY, FORMAT_KEY, LOG_RANGE, STORE_ID_KEY
from tests.conformance.store.life_calls import checks_of, damage_of, fill
from tests.conformance.store.store_sites import EngineSite, open_store

Rows = dict[int, bytes]


async def damaged(site: EngineSite, change: Callable[[Rows], list[Write]]) -> int:
    """Fills a store, changes its rows, by position, below it, and returns their number."""
    store = await open_store(site)
    await fill(store)
    await store.close()
    engine = await site.open_engine()
    rows = rows_of(engine)
    await engine.commit(change(rows))
    await engine.close()
    return len(rows)


def rows_of(engine: Engine) -> Rows:
    return {int.from_bytes(key, "big"): data for key, data in engine.scan(*LOG_RANGE)}


def flipped(rows: Rows, position: int) -> Write:
    data = rows[position]
    return Write(log_key(position), data[:-1] + bytes([data[-1] ^ 1]))


async def test_each_damaged_row_is_named_and_all_others_are_read(engine_site: EngineSite) -> None:
    first, second = position_of(2), position_of(4, 77)
    count = await damaged(engine_site, lambda rows: [flipped(rows, first), flipped(rows, second)])
    assert await damage_of(engine_site) == [
        "revision 2, key b'changed': the stored row does not match its checksum",
        "revision 4, key b'many/077': the stored row does not match its checksum",
    ]
    assert (await checks_of(engine_site))[-1].records == count


async def test_rows_that_are_missing_are_noticed_by_those_after_them(engine_site: EngineSite) -> None:
    def change(rows: Rows) -> list[Write]:
        return [Write(log_key(position_of(4, 5)), None), *(Write(log_key(position_of(5, n)), None) for n in range(4))]

    await damaged(engine_site, change)
    assert await damage_of(engine_site) == [
        "revision 4, key b'many/006': rows before it are missing, from revision 4 on",
        "revision 6, key b'gone': rows before it are missing, from revision 5 on",
    ]


async def test_a_row_that_contradicts_an_earlier_one_is_damage(engine_site: EngineSite) -> None:
    def change(rows: Rows) -> list[Write]:
        row = decode_row(position_of(3), rows[position_of(3)])
        return encode_rows([row._replace(create_revision=2)])

    await damaged(engine_site, change)
    assert await damage_of(engine_site) == [
        "revision 3, key b'changed': says that it was created at revision 2, but earlier rows say 1"
    ]


async def test_a_row_in_anothers_place_is_damage(engine_site: EngineSite) -> None:
    await damaged(engine_site, lambda rows: [Write(log_key(position_of(1)), rows[position_of(2)])])
    assert await damage_of(engine_site) == ["revision 1, key b'changed': the stored row does not match its checksum"]


@pytest.mark.parametrize("key", [STORE_ID_KEY, COMPACT_KEY])
async def test_a_damaged_header_is_named_and_the_rows_are_read(engine_site: EngineSite, key: bytes) -> None:
    count = await damaged(engine_site, lambda _: [Write(key, b"\0\0\0\0?")])
    found = await damage_of(engine_site)
    assert len(found) == 1
    assert key[1:].decode() in found[0]
    assert (await checks_of(engine_site))[-1].records == count


async def test_a_store_of_a_newer_format_is_refused_with_the_remedy(engine_site: EngineSite) -> None:
    await damaged(engine_site, lambda _: [Write(FORMAT_KEY, b"rube mvcc 3")])
    for call in (damage_of, open_store):
        with pytest.raises(
            FailedPreconditionError, match=r"format b'rube mvcc 3' .* use the version of Rube that wrote"
        ):
            await call(engine_site)
