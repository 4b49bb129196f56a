"""The rows of the log and the memory engine's image: what is written comes back, and damage is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.api.errors import DataLossError, FailedPreconditionError
from rube.host import Write
from rube.store.engines.image import MAGIC, decode_batches, encode_batch
from rube.store.mvcc.log import (
    REVISION_MAX,
    DamagedRow,
    Row,
    decode_row,
    encode_rows,
    log_key,
    position_of,
    read_row,
)

positions = st.integers(1, position_of(REVISION_MAX, 65535))
rows = st.builds(
    Row,
    position=positions,
    key=st.binary(min_size=1),
    value=st.none() | st.binary(),
    create_revision=st.integers(0, 2**63),
)
batches = st.lists(st.builds(Write, key=st.binary(), value=st.none() | st.binary()), max_size=5)


def encoded_row(row: Row, *, heads: bool = True) -> bytes:
    ((key, value),) = encode_rows([row], heads=heads)
    assert key == log_key(row.position)
    assert value is not None
    return value


@given(rows, st.booleans())
def test_a_row_comes_back(row: Row, heads: bool) -> None:
    assert decode_row(row.position, encoded_row(row, heads=heads)) == row


@given(rows, st.data())
def test_a_flipped_bit_of_a_row_of_the_first_format_is_found(row: Row, data: st.DataObject) -> None:
    encoded = bytearray(encoded_row(row, heads=False))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DataLossError, match=f"revision {row.revision} "):
        decode_row(row.position, bytes(encoded))


@given(rows, st.data())
def test_one_damaged_byte_of_a_row_is_mended_or_its_key_is_known(row: Row, data: st.DataObject) -> None:
    """The bytes before the value are there twice, as it were, so that any damaged one is found."""
    encoded = bytearray(encoded_row(row))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    found = read_row(row.position, bytes(encoded))
    if isinstance(found, DamagedRow):
        assert found.head is not None
        assert found.head == row._replace(value=b"" if row.value is not None else None)
        with pytest.raises(DataLossError, match=f"revision {row.revision} .*rube store salvage"):
            decode_row(row.position, bytes(encoded))
    else:
        assert found == row
    assert isinstance(found, DamagedRow) == (place < 4 or place >= 4 + 13 + len(row.key) + 4)


@given(rows, st.data())
def test_bytes_that_are_damaged_anyhow_are_never_another_row(row: Row, data: st.DataObject) -> None:
    encoded = bytearray(encoded_row(row))
    for _ in range(data.draw(st.integers(1, 8))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    found = read_row(row.position, bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))
    if isinstance(found, DamagedRow):
        assert found.head in (None, row._replace(value=b"" if row.value is not None else None))
    else:
        assert found == row


@given(rows, positions)
def test_a_row_in_anothers_place_is_found(row: Row, elsewhere: int) -> None:
    if elsewhere != row.position:
        with pytest.raises(DataLossError):
            decode_row(elsewhere, encoded_row(row))


@given(rows, st.data())
def test_a_row_cut_short_is_found(row: Row, data: st.DataObject) -> None:
    encoded = encoded_row(row)
    with pytest.raises(DataLossError):
        decode_row(row.position, encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(positions, positions)
def test_the_engines_order_of_keys_is_the_order_of_positions(one: int, other: int) -> None:
    assert (log_key(one) < log_key(other)) == (one < other)
    assert log_key(one)[0] < 0x80  # before everything else that a store keeps


@given(st.lists(batches, max_size=4))
def test_an_image_comes_back(written: list[list[Write]]) -> None:
    image = MAGIC + b"".join(map(encode_batch, written))
    assert [batch for batch, _ in decode_batches(image, "x")] == written


@given(st.lists(batches, min_size=1, max_size=4), st.data())
def test_an_image_cut_short_gives_the_whole_batches_before_the_cut(
    written: list[list[Write]], data: st.DataObject
) -> None:
    image = MAGIC + b"".join(map(encode_batch, written))
    cut = data.draw(st.integers(0, len(image) - 1))
    found = list(decode_batches(image[:cut], "x"))
    assert [batch for batch, _ in found] == written[: len(found)]
    end = found[-1][1] if found else len(MAGIC)
    assert end + len(encode_batch(written[len(found)])) > cut


@given(st.lists(batches, min_size=1, max_size=4), st.data())
def test_a_flipped_bit_of_an_image_is_found(written: list[list[Write]], data: st.DataObject) -> None:
    image = bytearray(MAGIC + b"".join(map(encode_batch, written)))
    image[data.draw(st.integers(0, len(image) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((DataLossError, FailedPreconditionError)) as caught:
        list(decode_batches(bytes(image), "node.log"))
    assert "node.log" in str(caught.value)
