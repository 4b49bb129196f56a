"""The backup file's format: what is written is read, and whatever is damaged is noticed and named."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rube.api.errors import FailedPreconditionError
from rube.store.backends import Damage
from rube.store.maintenance.format import BackupEnd, BackupHeader, Decoder, Encoder, Item
from rube.store.ports import Record

HEADER = BackupHeader("id", 1000)
PREAMBLE_BYTES = 12
"""Magic, version, the header's frame."""
SOME = [Record(b"a", b"1" * 50, 1, 5), Record(b"b", b"", 2, 2), Record(b"c", b"3", 3, 1000)]


@st.composite
def records_strategy(draw: st.DrawFn) -> list[Record]:
    keys = sorted(draw(st.sets(st.binary(min_size=1, max_size=20), max_size=20)))
    revisions = st.integers(1, HEADER.revision)
    found = []
    for key in keys:
        create_revision, mod_revision = sorted((draw(revisions), draw(revisions)))
        # Values that look like frames must not be taken for them.
        value = draw(st.binary(max_size=50) | st.sampled_from([encode(()), encode(SOME)]))
        found.append(Record(key, value, create_revision, mod_revision))
    return found


def encode(records: Iterable[Record]) -> bytes:
    encoder = Encoder()
    return encoder.start(HEADER) + encoder.records(records) + encoder.finish()


def decode(data: bytes, piece_bytes: int = 1 << 20) -> list[Item]:
    decoder = Decoder("FILE")
    items: list[Item] = []
    for start in range(0, len(data), piece_bytes):
        items += decoder.feed(data[start : start + piece_bytes])
    return items + list(decoder.end())


@settings(max_examples=60)
@given(records_strategy(), st.integers(1, 100))
def test_what_was_written_is_read_in_pieces_of_any_size(records: list[Record], piece_bytes: int) -> None:
    assert decode(encode(records), piece_bytes) == [HEADER, *records, BackupEnd(len(records))]


@settings(max_examples=60)
@given(records_strategy(), st.data())
def test_no_part_of_a_backup_is_taken_for_the_whole(records: list[Record], data: st.DataObject) -> None:
    whole = encode(records)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if len(part) < PREAMBLE_BYTES:
        with pytest.raises(FailedPreconditionError, match="FILE is no backup"):
            decode(part)
        return
    items = decode(part)
    assert isinstance(items[-1], Damage)
    assert "cut short" in items[-1].what
    assert items[:-1] == [HEADER, *records][: len(items) - 1]


@settings(max_examples=60)
@given(records_strategy(), st.data())
def test_no_flipped_byte_goes_unnoticed_and_it_costs_one_record_at_most(
    records: list[Record], data: st.DataObject
) -> None:
    whole = bytearray(encode(records))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    if place < PREAMBLE_BYTES:
        with pytest.raises(FailedPreconditionError, match=r"FILE is (no backup|a backup of format)"):
            decode(bytes(whole))
        return
    items = decode(bytes(whole))
    assert not any(isinstance(item, BackupEnd) for item in items)
    assert any(isinstance(item, Damage) for item in items)
    found = [item for item in items if isinstance(item, Record)]
    assert set(found) <= set(records)
    assert len(found) >= len(records) - 1


def test_damage_names_the_record_and_its_key_and_what_follows_is_read() -> None:
    whole = bytearray(encode(SOME))
    whole[whole.index(b"1" * 50) + 10] ^= 1
    header, damage, *rest = decode(bytes(whole))
    assert header == HEADER
    assert damage == Damage("record 1 at byte 36, key b'a'", "does not match its checksum")
    assert rest == SOME[1:]


def test_a_damaged_frame_is_passed_over_to_the_next_mark() -> None:
    whole = bytearray(encode(SOME))
    whole[36] ^= 1
    header, damage, *rest = decode(bytes(whole))
    assert header == HEADER
    assert damage == Damage("bytes 36 to 112", "cannot be read")
    assert rest[:2] == SOME[1:]
    assert rest[2].what == "the backup has 3 records, and 2 are here"


def test_bytes_after_the_end_are_damage() -> None:
    for more in (b"x", b"x" * 100):
        assert isinstance(decode(encode(SOME) + more)[-1], Damage)


def test_records_that_were_swapped_or_left_out_are_damage() -> None:
    whole = encode(SOME)
    first, second, third = 36, whole.index(b"\xf5rb\n", 40), whole.index(b"\xf5rb\n", 120)
    swapped = whole[:first] + whole[second:third] + whole[first:second] + whole[third:]
    assert any(isinstance(item, Damage) for item in decode(swapped))
    assert any(isinstance(item, Damage) for item in decode(whole[:first] + whole[second:]))


def test_revisions_that_cannot_be_are_damage() -> None:
    for record in (Record(b"a", b"", 0, 1), Record(b"a", b"", 2, 1), Record(b"a", b"", 1, 1001)):
        assert isinstance(decode(encode([record]))[1], Damage)


def test_another_version_is_refused_with_the_remedy() -> None:
    whole = bytearray(encode(SOME))
    whole[11] = 2
    with pytest.raises(FailedPreconditionError, match="backup of format 2 and this program knows 1: use the version"):
        decode(bytes(whole))


def test_another_file_is_no_backup() -> None:
    for data in (b"", b"SQLite format 3\0", b"RUBE"):
        with pytest.raises(FailedPreconditionError, match="FILE is no backup: name a file that `rube store backup`"):
            decode(data)


def test_the_bytes_of_a_backup_do_not_change() -> None:
    """Files of format 1 must be read by all later versions."""
    assert encode([Record(b"k", b"v", 3, 7)]).hex(" ", 16) == GOLDEN


GOLDEN = (
    "52554245 "
    "4241434b00000001f572620a48000000 "
    "0740571b647dcf6da10a02696410e807 "
    "f572620a520000000abfd66b14034478 "
    "9d0a016b12017618032007f572620a46 "
    "00000024830cfac1011397fb08011220 "
    "57564223107c93056326015634d0ce3a "
    "99e2c3e2b352df13579f3c4eae7feed5"
)


def test_frames_of_another_backup_are_found_by_the_checksum_of_the_whole() -> None:
    """The two are of one size at one place, so that each is sound by itself."""
    whole, other = encode(SOME), encode([SOME[0]._replace(value=b"2" * 50), *SOME[1:]])
    place, end = whole.index(b"1" * 50), whole.index(b"1" * 50) + 50
    start = whole.rindex(b"\xf5rb\n", 0, place)
    mixed = whole[:start] + other[start:end] + whole[end:]
    assert len(mixed) == len(whole)
    assert mixed != whole
    assert mixed != other
    assert [item.what for item in decode(mixed) if isinstance(item, Damage)] == [
        "the checksum of the whole file does not match"
    ]
