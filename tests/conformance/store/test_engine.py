"""The promises of every engine (rube.host.Engine)."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import FailedPreconditionError
from rube.host import Engine, Write
from tests.conformance.store.store_sites import EngineSite

KEYS = sorted(
    [
        b"",
        b"\x00",
        b"a",
        b"a" * 7,
        b"a" * 8,
        b"a" * 8 + b"\x00",
        b"a" * 9,
        b"b" * 8,
        b"\x00" * 8,
        b"\xff" * 8,
        b"\xff" * 9,
    ]
    + [number.to_bytes(8, "big") for number in (1, 255, 256, 2**63 - 1, 2**63, 2**64 - 2)]
)
"""Keys of eight bytes are kept apart from the others in SQLite, so both kinds are mixed here."""
END = b"\xff" * 10


async def filled(engine_site: EngineSite) -> Engine:
    engine = await engine_site.open_engine()
    await engine.commit([Write(key, b"value " + key) for key in reversed(KEYS)])
    return engine


async def test_get_gives_what_was_committed_or_nothing(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    for key in KEYS:
        assert engine.get(key) == b"value " + key
        assert engine.get(key + b"?") is None
    await engine.close()


async def test_scan_is_in_byte_order_within_its_bounds(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    bounds = [*KEYS, END, b"a" * 8 + b"\x00\x00", b"b"]
    for start in bounds:
        for end in bounds:
            expected = [key for key in KEYS if start <= key < end]
            assert [key for key, _ in engine.scan(start, end)] == expected, (start, end)
            assert [key for key, _ in engine.scan(start, end, reverse=True)] == expected[::-1], (start, end)
    assert [key for key, _ in engine.scan(b"", END, limit=3)] == KEYS[:3]
    assert [key for key, _ in engine.scan(b"", END, limit=3, reverse=True)] == KEYS[::-1][:3]
    await engine.close()


async def test_a_batch_puts_overwrites_and_deletes_and_its_last_word_counts(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    await engine.commit(
        [
            *(Write(b"a", b"1"), Write(b"a", b"2"), Write(b"b" * 8, None), Write(b"absent", None), Write(b"\x00", b"")),
            *(Write(b"x", b""), Write(b"x", None), Write(b"y", None), Write(b"y", b"there")),
        ]
    )
    found = dict(engine.scan(b"", END))
    assert found[b"a"] == b"2"
    assert found[b"\x00"] == b""
    assert found[b"y"] == b"there"
    assert not {b"b" * 8, b"absent", b"x"} & found.keys()
    assert len(found) == len(KEYS)
    await engine.commit([])
    await engine.close()


async def test_a_scan_sees_the_moment_of_its_call(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    rows = engine.scan(b"", END)
    first = next(rows)
    unread = engine.scan(b"", END)
    await engine.commit([Write(key, None) for key in KEYS] + [Write(b"new", b""), Write(b"n" * 8, b"")])
    assert [first[0], *(key for key, _ in rows)] == KEYS
    assert [key for key, _ in unread] == KEYS
    assert [key for key, _ in engine.scan(b"", END)] == [b"new", b"n" * 8]
    await engine.close()


async def test_an_unfinished_scan_does_not_hold_back_other_reads(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    rows = engine.scan(b"", END)
    next(rows)
    await engine.commit([Write(b"a", b"new"), Write(b"a" * 8, b"new")])
    assert engine.get(b"a") == engine.get(b"a" * 8) == b"new"
    del rows
    await engine.close()


async def test_a_snapshot_stays_as_it_was(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    snapshot = engine.snapshot()
    await engine.commit([Write(key, None) for key in KEYS])
    assert [key for key, _ in snapshot.scan(b"", END)] == KEYS
    assert [key for key, _ in snapshot.scan(b"", END, limit=2, reverse=True)] == KEYS[::-1][:2]
    assert snapshot.get(b"a") == b"value a"
    assert engine.get(b"a") is None
    snapshot.close()
    snapshot.close()
    await engine.close()


async def test_everything_is_there_after_a_restart(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    await engine.close()
    for _ in range(2):
        engine = await engine_site.open_engine()
        assert [key for key, _ in engine.scan(b"", END)] == KEYS
        await engine.close()


async def test_concurrent_commits_are_carried_out_in_the_order_of_their_calls(engine_site: EngineSite) -> None:
    engine = await engine_site.open_engine()
    async with asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(engine.commit([Write(b"last", b"%d" % number), Write(b"%d" % number, b"")]))
    assert engine.get(b"last") == b"49"
    assert sum(1 for _ in engine.scan(b"", END)) == 51
    await engine.close()


async def test_a_cancelled_commit_happens_whole_or_not_at_all(engine_site: EngineSite) -> None:
    engine = await engine_site.open_engine()
    for number in range(20):
        task = asyncio.ensure_future(engine.commit([Write(b"a", b"%d" % number), Write(b"a" * 8, b"%d" % number)]))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await engine.commit([Write(b"after", b"")])
    shown = engine.get(b"a"), engine.get(b"a" * 8)
    assert shown[0] == shown[1]
    await engine.close()
    engine = await engine_site.open_engine()
    assert (engine.get(b"a"), engine.get(b"a" * 8)) == shown
    assert engine.get(b"after") == b""
    await engine.close()


async def test_a_checkpoint_opens_as_an_engine_of_its_own(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    target = str(engine_site.directory / "copy") if hasattr(engine_site, "directory") else "copy"
    await engine.checkpoint(target)
    with pytest.raises(FailedPreconditionError, match="exists already"):
        await engine.checkpoint(target)
    await engine.commit([Write(b"a", b"later")])
    copy = await engine_site.open_engine("copy")
    assert [key for key, _ in copy.scan(b"", END)] == KEYS
    assert copy.get(b"a") == b"value a"
    await copy.commit([Write(b"a", b"other")])
    assert engine.get(b"a") == b"later"
    await copy.close()
    await engine.close()


async def test_a_closed_engine_refuses(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    await engine.close()
    await engine.close()
    with pytest.raises(FailedPreconditionError, match="closed"):
        engine.get(b"a")
    with pytest.raises(FailedPreconditionError, match="closed"):
        await engine.commit([])


async def test_a_read_only_engine_is_one_moment_of_an_open_one_and_takes_no_writes(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    seen = await engine_site.open_engine(read_only=True)
    await engine.commit([Write(KEYS[0], b"later"), Write(b"n" * 8, b"")])
    assert [key for key, _ in seen.scan(b"", END)] == KEYS
    assert [key for key, _ in seen.scan(b"", END, limit=2, reverse=True)] == KEYS[::-1][:2]
    assert seen.get(KEYS[0]) == b"value " + KEYS[0]
    with pytest.raises(FailedPreconditionError, match="for reading only"):
        await seen.commit([Write(b"a", b"")])
    assert seen.size_bytes() > 0
    assert list(seen.inspect()) == []
    await seen.close()
    newer = await engine_site.open_engine(read_only=True)
    assert newer.get(KEYS[0]) == b"later"
    await newer.close()
    assert engine.get(b"a") == b"value a"
    assert list(engine.inspect()) == []
    await engine.close()


async def test_a_read_only_engine_needs_no_writer_and_leaves_nothing_behind(engine_site: EngineSite) -> None:
    engine = await filled(engine_site)
    await engine.close()
    for _ in range(2):
        seen = await engine_site.open_engine(read_only=True)
        assert [key for key, _ in seen.scan(b"", END)] == KEYS
        await seen.close()
    engine = await engine_site.open_engine()
    await engine.commit([Write(b"a", b"later")])
    await engine.close()


async def test_where_there_is_no_engine_none_is_read(engine_site: EngineSite) -> None:
    for _ in range(2):
        with pytest.raises(FailedPreconditionError, match="there is no store"):
            await engine_site.open_engine("other", read_only=True)
