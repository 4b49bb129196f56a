"""The parts of a SQL store that need no server: keys in columns, checksums, the tail, what errors say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api.errors import DataLossError, FailedPreconditionError, ResourceExhaustedError, UnavailableError
from rube.store import Change, Record
from rube.store.mvcc.log import Row
from rube.store.sql.errors import DatabasePlace, LostError, RefusedError, translate
from rube.store.sql.poller import ChangeTail
from rube.store.sql.rows import HEAD_BYTES, LogRow, checksum, decode, split_key, tail_hash
from rube.store.sql.schema import check_durable

PLACE = DatabasePlace("db:3306", "rube", "ann")
KEYS = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.builds(lambda size, end: b"x" * size + end, st.integers(HEAD_BYTES - 2, HEAD_BYTES + 2), st.binary(max_size=3)),
)
"""Short, at the border, and past it."""


@given(KEYS, KEYS)
def test_keys_in_two_columns_compare_as_keys(one: bytes, other: bytes) -> None:
    assert (split_key(one) < split_key(other)) == (one < other)
    assert (split_key(one) == split_key(other)) == (one == other)
    assert b"".join(split_key(one)) == one


def test_a_tail_is_told_apart_and_none_costs_nothing() -> None:
    assert tail_hash(b"") == b""
    assert len({tail_hash(b"a"), tail_hash(b"b"), tail_hash(b"")}) == 3


def columns(stored: LogRow) -> list[object]:
    row, previous = stored
    return [row.position, row.create_revision, previous, checksum(row, previous), *split_key(row.key), row.value]


@pytest.mark.parametrize("value", [b"value", b"", None])
def test_a_row_comes_back_and_any_change_of_it_is_damage(value: bytes | None) -> None:
    stored = LogRow(Row(5 << 16, b"k" * 800, value, 3), 2 << 16)
    assert decode(columns(stored)) == stored
    for place, other in enumerate([6 << 16, 4, 0, 7, b"j", b"j", b"x" if value is None else None]):
        damaged = columns(stored)
        damaged[place] = other
        with pytest.raises(DataLossError, match="does not match its checksum"):
            decode(damaged)


def change(revision: int, key: bytes, size: int = 10) -> Change:
    return Change(Record(key, b"x" * size, revision, revision), False, None)


def test_the_tail_drops_whole_revisions_and_knows_where_it_begins() -> None:
    tail = ChangeTail(3, bytes_max=3000)
    tail.extend([change(4, b"a"), change(4, b"b"), change(5, b"a")], 5)
    assert (tail.start_revision, tail.revision) == (3, 5)
    tail.extend([change(number, b"a") for number in range(6, 11)], 10)
    assert tail.start_revision == 4
    tail.extend([change(11, b"a", size=5000)], 11)
    assert (tail.start_revision, tail.revision) == (11, 11)


def test_the_tail_never_splits_a_revision_and_says_how_far_it_came() -> None:
    tail = ChangeTail(0, bytes_max=1_000_000)
    tail.extend([change(1, b"a"), change(1, b"b"), change(1, b"c"), change(2, b"z"), change(3, b"a")], 7)
    found, reached = tail.after(0, b"a", b"d", changes_max=2)
    assert [c.record.key for c in found] == [b"a", b"b", b"c"]
    assert reached == 1
    assert tail.after(1, b"a", b"d", changes_max=2) == ([change(3, b"a")], 7)
    assert tail.after(3, b"a", b"d", changes_max=2) == ([], 7)


@pytest.mark.parametrize(
    ("error", "cls", "said"),
    [
        (RefusedError(1045, "Access denied"), FailedPreconditionError, "password_file="),
        (RefusedError(1114, "table full"), ResourceExhaustedError, "make room"),
        (RefusedError(1213, "Deadlock"), UnavailableError, "tried several times"),
        (RefusedError(4321, "something new"), UnavailableError, "something new (error 4321)"),
        (LostError("reset"), UnavailableError, "does not answer (reset)"),
    ],
)
def test_an_error_says_where_what_and_the_remedy(error: RefusedError | LostError, cls: type, said: str) -> None:
    translated = translate(error, PLACE)
    assert type(translated) is cls
    assert said in translated.message
    assert "db:3306" in translated.message


SAFE = {"innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF", "sync_binlog": "0", "binlog_format": "MIXED"}


@pytest.mark.parametrize(
    "changes", [{}, {"log_bin": "ON", "sync_binlog": "1"}, {"innodb_flush_log_at_trx_commit": "3"}]
)
def test_settings_that_keep_what_is_acknowledged_are_taken(changes: dict[str, str]) -> None:
    check_durable(SAFE | changes, PLACE)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"innodb_flush_log_at_trx_commit": "0"}, "SET GLOBAL innodb_flush_log_at_trx_commit = 1"),
        ({"log_bin": "ON"}, "SET GLOBAL sync_binlog = 1"),
        ({"log_bin": "ON", "sync_binlog": "1000"}, "SET GLOBAL sync_binlog = 1"),
        ({"log_bin": "ON", "sync_binlog": "1", "binlog_format": "STATEMENT"}, "SET GLOBAL binlog_format = 'ROW'"),
    ],
)
def test_settings_that_lose_it_are_refused_with_their_remedy(changes: dict[str, str], remedy: str) -> None:
    with pytest.raises(FailedPreconditionError, match=remedy):
        check_durable(SAFE | changes, PLACE)
