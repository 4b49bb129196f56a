"""The contents on which a group of replicated controllers agrees: rows, and whose term it is."""

from __future__ import annotations

import asyncio

import pytest

from rube.api.errors import AbortedError
from rube.controllers.replicated.rows import Rows, commit_command, lead_command
from rube.host import Write
from rube.store.engines.memory import MemoryEngine, VolatileDisk


def made() -> tuple[Rows, MemoryEngine]:
    engine = asyncio.run(MemoryEngine.open(VolatileDisk(), "memory:"))
    return Rows(engine), engine


def test_each_term_is_greater_than_the_last_and_than_was_asked_for() -> None:
    rows, _ = made()
    assert [rows.apply(lead_command(above)).outcome for above in (0, 0, 10, 3, 11)] == [1, 2, 11, 12, 13]
    assert rows.term == 13


def test_a_commit_of_an_older_term_changes_nothing() -> None:
    rows, _ = made()
    rows.apply(lead_command(0))
    assert rows.apply(commit_command(1, [Write(b"key", b"first")])).outcome is None
    rows.apply(lead_command(0))
    refused = rows.apply(commit_command(1, [Write(b"key", b"late"), Write(b"more", b"")]))
    assert isinstance(refused.outcome, AbortedError)
    assert not refused.writes
    assert list(rows.scan(b"", b"\xff")) == [(b"key", b"first")]


@pytest.mark.parametrize("value", [b"", b"value"])
def test_what_is_written_is_read_again_from_the_engine(value: bytes) -> None:
    rows, engine = made()

    async def main() -> Rows:
        for command in (lead_command(6), commit_command(7, [Write(b"b", value), Write(b"a", b"1"), Write(b"c", b"2")])):
            await engine.commit(rows.apply(command).writes)
        await engine.commit(rows.apply(commit_command(7, [Write(b"c", None)])).writes)
        again = Rows(engine)
        await again.reload("group")
        return again

    again = asyncio.run(main())
    assert again.term == rows.term == 7
    assert list(again.scan(b"a", b"z")) == list(rows.scan(b"a", b"z")) == [(b"a", b"1"), (b"b", value)]
    assert list(again.scan(b"a", b"z", limit=1, reverse=True)) == [(b"b", value)]
    assert again.get(b"c") is None


def test_a_term_that_begins_is_told() -> None:
    rows, _ = made()
    told: list[int] = []
    rows.on_term = lambda: told.append(rows.term)
    rows.apply(lead_command(0))
    rows.apply(commit_command(1, []))
    rows.apply(lead_command(4))
    assert told == [1, 5]
