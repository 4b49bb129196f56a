"""The printed forms of Raft's data."""

from __future__ import annotations

import pytest

from rube.raft.describe import describe_entry, describe_message, message_type_number, message_type_text, quoted
from rube.raft.raft_pb2 import ConfChange, ConfChangeType, ConfChangeV2, Entry, EntryType, Message, MessageType


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", '""'),
        (b'a"b\\', r'"a\"b\\"'),
        ("é∞".encode(), '"é∞"'),
        (b"\x00\x7f\n\t", r'"\x00\x7f\n\t"'),
        (b"\xff\x80", r'"\xff\x80"'),
        ("\u2028\U000e0001".encode(), r'"\u2028\U000e0001"'),
    ],
)
def test_data_is_printed_as_a_go_literal(data: bytes, text: str) -> None:
    assert quoted(data) == text


def test_every_message_type_has_a_name_and_back() -> None:
    for number in MessageType.values():
        assert message_type_number(message_type_text(number)) == number
    assert message_type_text(MessageType.MSG_PRE_VOTE_RESP) == "MsgPreVoteResp"
    assert message_type_number("MsgNone") is None


def test_entries_show_what_they_change() -> None:
    change = ConfChange(type=ConfChangeType.CONF_CHANGE_REMOVE_NODE, node_id=4).SerializeToString()
    assert describe_entry(Entry(term=2, index=7, data=b"x")) == '2/7 EntryNormal "x"'
    assert describe_entry(Entry(term=2, index=7, type=EntryType.ENTRY_CONF_CHANGE, data=change)) == (
        "2/7 EntryConfChange r4"
    )
    empty = Entry(term=2, index=7, type=EntryType.ENTRY_CONF_CHANGE_V2, data=ConfChangeV2().SerializeToString())
    assert describe_entry(empty) == "2/7 EntryConfChangeV2"


def test_responses_are_indented_below_their_message() -> None:
    inner = Message(type=MessageType.MSG_APP_RESP, sender=2**64 - 2, to=10, reject=True, reject_hint=3)
    outer = Message(type=MessageType.MSG_STORAGE_APPLY, sender=10, to=2**64 - 2, responses=[inner])
    assert describe_message(outer, " ") == (
        " a->ApplyThread MsgStorageApply Term:0 Log:0/0 Responses:[\n"
        "   ApplyThread->a MsgAppResp Term:0 Log:0/0 Rejected (Hint: 3)\n ]"
    )
