"""Raft's data in one line each, in the words that etcd-io/raft prints, so that transcripts can be compared."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.message import DecodeError

from rube.raft.config import APPEND_THREAD, APPLY_THREAD, NONE
from rube.raft.raft_pb2 import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV2,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Snapshot,
)
from rube.raft.ready import Ready

_ESCAPES = {7: "\\a", 8: "\\b", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
_CHANGE_LETTERS: dict[int, str] = {
    ConfChangeType.CONF_CHANGE_ADD_NODE: "v",
    ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE: "l",
    ConfChangeType.CONF_CHANGE_REMOVE_NODE: "r",
    ConfChangeType.CONF_CHANGE_UPDATE_NODE: "u",
}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


_MESSAGE_TYPES: dict[int, str] = {number: _camel(name) for name, number in MessageType.items()}
_ENTRY_TYPES: dict[int, str] = {number: _camel(name) for name, number in EntryType.items()}


def message_type_text(message_type: int) -> str:
    """Returns `MsgAppResp` for MSG_APP_RESP; the number if it is unknown."""
    return _MESSAGE_TYPES.get(message_type, str(message_type))


def message_type_number(text: str) -> int | None:
    """Returns the type of such a name; None if there is no such type."""
    return next((number for number, name in _MESSAGE_TYPES.items() if name == text), None)


def quoted(data: bytes) -> str:
    """Returns the bytes as a Go string literal (%q): printable UTF-8 as it is, the rest escaped."""
    return '"' + "".join(_escaped(character) for character in data.decode(errors="surrogateescape")) + '"'


def describe_changes(changes: Iterable[ConfChangeSingle]) -> str:
    """Returns `v1 l2 r3 u4` for: make 1 a voter and 2 a learner, remove 3, update 4."""
    return " ".join(f"{_CHANGE_LETTERS.get(change.type, 'unknown')}{change.node_id}" for change in changes)


def describe_entry(entry: Entry) -> str:
    """Returns `term/index type data`, without the last blank if there is no data."""
    try:
        if entry.type == EntryType.ENTRY_NORMAL:
            shown = quoted(entry.data)
        elif entry.type == EntryType.ENTRY_CONF_CHANGE:
            change = ConfChange.FromString(entry.data)
            shown = describe_changes([ConfChangeSingle(type=change.type, node_id=change.node_id)])
        else:
            shown = describe_changes(ConfChangeV2.FromString(entry.data).changes)
    except DecodeError as error:
        shown = str(error)
    return f"{entry.term}/{entry.index} {_ENTRY_TYPES.get(entry.type, entry.type)} {shown}".rstrip()


def describe_entries(entries: Iterable[Entry]) -> str:
    """Returns a line for each entry."""
    return "".join(describe_entry(entry) + "\n" for entry in entries)


def describe_hard_state(state: HardState) -> str:
    """Returns `Term:1 Vote:2 Commit:3`, without the vote if there is none."""
    return f"Term:{state.term}" + (f" Vote:{state.vote}" if state.vote else "") + f" Commit:{state.commit}"


def describe_conf_state(state: ConfState) -> str:
    """Returns the four sets of members and the flag."""
    return (
        f"Voters:{_list(state.voters)} VotersOutgoing:{_list(state.voters_outgoing)} Learners:{_list(state.learners)} "
        f"LearnersNext:{_list(state.learners_next)} AutoLeave:{str(state.auto_leave).lower()}"
    )


def describe_snapshot(snapshot: Snapshot) -> str:
    """Returns the snapshot's place in the log and its configuration, without its data."""
    metadata = snapshot.metadata
    return f"Index:{metadata.index} Term:{metadata.term} ConfState:{describe_conf_state(metadata.conf_state)}"


def describe_target(member: int) -> str:
    """Returns a member's id in hexadecimal, or the name of a storage thread."""
    return {NONE: "None", APPEND_THREAD: "AppendThread", APPLY_THREAD: "ApplyThread"}.get(member, f"{member:x}")


def describe_message(message: Message, indent: str = "") -> str:
    """Returns one line; more for several entries, a snapshot or responses. No line end."""
    parts = [
        f"{indent}{describe_target(message.sender)}->{describe_target(message.to)} {message_type_text(message.type)}",
        f" Term:{message.term} Log:{message.log_term}/{message.index}",
        f" Rejected (Hint: {message.reject_hint})" if message.reject else "",
        f" Commit:{message.commit}" if message.commit else "",
        f" Vote:{message.vote}" if message.vote else "",
    ]
    if len(message.entries) == 1:
        parts.append(f" Entries:[{describe_entry(message.entries[0])}]")
    elif message.entries:
        entries = "".join(f"\n{indent}  {describe_entry(entry)}" for entry in message.entries)
        parts.append(f" Entries:[{entries}\n{indent}]")
    if message.snapshot.metadata.index:
        parts.append(f"\n{indent}  Snapshot: {describe_snapshot(message.snapshot)}")
    if message.responses:
        responses = "".join("\n" + describe_message(response, indent + "  ") for response in message.responses)
        parts.append(f" Responses:[{responses}\n{indent}]")
    return "".join(parts)


def describe_ready(ready: Ready) -> str:
    """Returns a batch, a line for each thing in it, with line ends."""
    parts = []
    if ready.soft_state is not None:
        parts.append(f"Lead:{ready.soft_state.leader} State:{ready.soft_state.role}\n")
    if ready.hard_state is not None:
        parts.append(f"HardState {describe_hard_state(ready.hard_state)}\n")
    if ready.read_states:
        states = " ".join(f"{{{state.index} {_list(state.context)}}}" for state in ready.read_states)
        parts.append(f"ReadStates [{states}]\n")
    if ready.entries:
        parts.append(f"Entries:\n{describe_entries(ready.entries)}")
    if ready.snapshot is not None:
        parts.append(f"Snapshot {describe_snapshot(ready.snapshot)}\n")
    if ready.committed_entries:
        parts.append(f"CommittedEntries:\n{describe_entries(ready.committed_entries)}")
    if ready.messages:
        parts.append("Messages:\n" + "".join(f"{describe_message(message)}\n" for message in ready.messages))
    if not parts:
        return "<empty Ready>"
    return f"Ready MustSync={str(ready.must_sync).lower()}:\n" + "".join(parts)


def _escaped(character: str) -> str:
    code = ord(character)
    if code in _ESCAPES:
        return _ESCAPES[code]
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _list(members: Iterable[int]) -> str:
    return "[" + " ".join(str(member) for member in members) + "]"
