"""The key index against a list of all rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rube.store.mvcc.index import Current, KeyIndex
from rube.store.mvcc.log import Row, position_of

KEYS = [b"a", b"a\x00", b"b", b"\xff"]


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Rows as transactions make them: no delete of what is not there, each key at most once a revision."""
    rows: list[Row] = []
    created: dict[bytes, int] = {}
    for revision in range(1, draw(st.integers(1, 12))):
        for sub, key in enumerate(draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=3))):
            if key in created and draw(st.booleans()):
                del created[key]
                rows.append(Row(position_of(revision, sub), key, None, 0))
            else:
                created.setdefault(key, revision)
                rows.append(Row(position_of(revision, sub), key, b"", created[key]))
    return rows


def filled(rows: list[Row]) -> KeyIndex:
    index = KeyIndex()
    index.extend(rows)
    return index


def newest(rows: list[Row], key: bytes, revision: int) -> Row | None:
    found = [row for row in rows if row.key == key and row.revision <= revision]
    return found[-1] if found and found[-1].value is not None else None


@given(histories())
def test_every_key_is_found_at_every_revision(rows: list[Row]) -> None:
    index = filled(rows)
    for revision in range(15):
        expected = [row for key in KEYS if (row := newest(rows, key, revision))]
        assert list(index.positions_at(b"", b"\xff\xff", revision)) == [row.position for row in expected]
        for key in KEYS:
            row = newest(rows, key, revision)
            assert index.position_at(key, revision) == (row.position if row else 0)
    for key in KEYS:
        row = newest(rows, key, 15)
        assert index.current(key) == (Current(row.position, row.create_revision) if row else None)


@given(histories())
def test_the_position_before_a_write_is_that_of_the_value_it_replaced(rows: list[Row]) -> None:
    index = filled(rows)
    for row in rows:
        before = newest(rows, row.key, row.revision - 1)
        assert index.position_before(row.key, row.position) == (before.position if before else 0)


@given(histories(), st.integers(0, 12))
def test_forgetting_what_is_superseded_changes_no_read_from_there_on(rows: list[Row], revision: int) -> None:
    index = filled(rows)
    gone: set[int] = set()
    for key in KEYS:
        superseded = index.superseded(key, revision)
        gone |= set(superseded)
        if superseded:
            index.forget(key, len(superseded))
    for later in range(revision, 15):
        expected = [row.position for key in KEYS if (row := newest(rows, key, later))]
        assert list(index.positions_at(b"", b"\xff\xff", later)) == expected
    kept = {row.position for row in rows} - gone
    seen = {row.position for later in range(revision, 15) for key in KEYS if (row := newest(rows, key, later))}
    # Nothing is kept in vain: a value that some read sees, or a delete that a watch has still to tell.
    assert kept == seen | {row.position for row in rows if row.revision > revision}
    assert len(index) == len({row.key for row in rows if row.position in kept})
