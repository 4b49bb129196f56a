"""The effect of a group of transactions, on which replicas agree to the byte."""

from __future__ import annotations

from rube.api.errors import AbortedError
from rube.host import Write
from rube.store import Compare, Op, Txn
from rube.store.mvcc.evaluate import Group
from rube.store.mvcc.index import KeyIndex
from rube.store.mvcc.log import Row, encode_rows, position_of


def put(key: bytes, *compares: Compare) -> Txn:
    return Txn((Op(key, b"v"),), compares)


def test_transactions_of_a_group_see_those_before_them() -> None:
    group = Group(KeyIndex(), 10)
    assert group.add(put(b"a", Compare(b"a", 0))) == 11
    assert isinstance(group.add(put(b"a", Compare(b"a", 0))), AbortedError)
    assert group.add(put(b"a", Compare(b"a", 11))) == 12
    assert group.add(Txn((Op(b"a", None),))) == 13
    assert group.add(Txn((Op(b"a", None),))) == 13
    assert group.add(put(b"a", Compare(b"a", 0))) == 14
    assert [row.create_revision for row in group.rows] == [11, 11, 0, 14]


def test_the_index_is_untouched_until_the_rows_are_durable() -> None:
    index = KeyIndex()
    Group(index, 0).add(put(b"a"))
    assert index.current(b"a") is None
    assert Group(index, 0).add(put(b"a", Compare(b"a", 0))) == 1


def test_grouping_makes_no_difference_to_the_rows() -> None:
    txns = [
        put(b"a"),
        Txn((Op(b"b", b"1"), Op(b"c", b"2")), (Compare(b"a", 1),)),
        put(b"a", Compare(b"b", 1)),
        Txn((Op(b"absent", None), Op(b"b", None), Op(b"d", b"")), (Compare(b"b", 2),)),
        put(b"b", Compare(b"b", 0)),
    ]

    def rows(sizes: list[int]) -> list[Write]:
        index, revision, written, start = KeyIndex(), 0, list[Row](), 0
        for size in sizes:
            group = Group(index, revision)
            for txn in txns[start : start + size]:
                group.add(txn)
            index.extend(group.rows)
            written += group.rows
            revision, start = group.revision, start + size
        return encode_rows(written)

    assert rows([1, 1, 1, 1, 1]) == rows([2, 3]) == rows([5])


def test_ops_of_one_transaction_are_numbered_without_gaps() -> None:
    group = Group(KeyIndex(), 0)
    group.add(Txn((Op(b"absent", None), Op(b"a", b""), Op(b"b", b""))))
    assert [row.position for row in group.rows] == [position_of(1, 0), position_of(1, 1)]
