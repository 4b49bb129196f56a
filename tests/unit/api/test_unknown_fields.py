"""The merge of fields that a message does not have."""

from __future__ import annotations

import pytest

from rube.api import Unit
from rube.api.unknown_fields import merge_unknown_fields

# Records of the numbers 500 to 504, one of each wire type; the group has a field of its own number's end in a text.
VARINT = b"\xa0\x1f\xac\x02"
FIXED64 = b"\xa9\x1f12345678"
TEXT = b"\xb2\x1f\x03abc"
GROUP = b"\xbb\x1f\x0a\x02\xbc\x1f\x13\x08\x01\x14\xbc\x1f"
FIXED32 = b"\xc5\x1f1234"


@pytest.mark.parametrize("record", [VARINT, FIXED64, TEXT, GROUP, FIXED32])
def test_an_unknown_field_takes_the_place_of_those_of_its_number(record: bytes) -> None:
    target = Unit(description="kept", after=["a", "b"])
    known = target.SerializeToString()
    others = b"".join(each for each in (VARINT, FIXED64, TEXT, GROUP, FIXED32) if each != record)
    target.MergeFromString(record + others + record)
    source = Unit(description="not taken")
    source.MergeFromString(record)
    merge_unknown_fields(source, target)
    assert target.SerializeToString() == known + others + record
    merge_unknown_fields(source, target)
    assert target.SerializeToString() == known + others + record


def test_a_message_without_unknown_fields_changes_nothing() -> None:
    target = Unit(description="kept")
    target.MergeFromString(TEXT)
    before = target.SerializeToString()
    merge_unknown_fields(Unit(description="x"), target)
    assert target.SerializeToString() == before
