"""Runs as etcd-raft's TLA+ traces: one JSON object a line, for its trace validation (etcd-io/raft, tla/).

Each event has one member's step and its state then: term, vote, commit, role, the last index, both halves of the
configuration. Pre-votes, reads and messages of the storage threads are not part of that specification, nor of a trace.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from rube.raft.describe import message_type_text
from rube.raft.raft_pb2 import ConfChangeType, ConfChangeV2, EntryType, Message, MessageType
from rube.raft.state import Raft
from rube.raft.trace import Step

_MESSAGES = {
    MessageType.MSG_APP: "AppendEntriesRequest",
    MessageType.MSG_HEARTBEAT: "AppendEntriesRequest",
    MessageType.MSG_SNAP: "AppendEntriesRequest",
    MessageType.MSG_APP_RESP: "AppendEntriesResponse",
    MessageType.MSG_HEARTBEAT_RESP: "AppendEntriesResponse",
    MessageType.MSG_VOTE: "RequestVoteRequest",
    MessageType.MSG_VOTE_RESP: "RequestVoteResponse",
}
_ACTIONS = {
    ConfChangeType.CONF_CHANGE_ADD_NODE: "AddNewServer",
    ConfChangeType.CONF_CHANGE_REMOVE_NODE: "RemoveServer",
    ConfChangeType.CONF_CHANGE_ADD_LEARNER_NODE: "AddLearner",
}
_UNTOLD = frozenset({Step.BECOME_PRE_CANDIDATE, Step.NOTE})


class TlaTrace:
    """An observer that writes the events as lines.

    The lines have no times: their order is the order of the events.
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        """`write` gets one line, with its end."""
        self._write = write
        # Each member's configuration at its last event: the event of a change has the one before it.
        self._conf: dict[int, list[list[str]]] = {}

    def __call__(
        self,
        raft: Raft,
        step: Step,
        /,
        *,
        message: Message | None = None,
        change: ConfChangeV2 | None = None,
        text: str = "",
    ) -> None:
        if step in (Step.SEND, Step.RECEIVE):
            self._message(raft, step, message)
        elif step is Step.REPLICATE:
            assert message is not None, "who replicates has entries"
            for entry in message.entries:
                if entry.type == EntryType.ENTRY_NORMAL:
                    self._event(raft, step.value)
        elif step is Step.CHANGE_CONF:
            assert change is not None, "a change of the configuration has changes"
            self._change(raft, change)
        elif step is Step.APPLY_CONF_CHANGE:
            voters = _names(raft.tracker.config.voters.incoming.ids())
            self._event(raft, step.value, prop={"cc": {"newconf": voters} if voters else {}})
        elif step not in _UNTOLD:
            self._event(raft, step.value)

    def _message(self, raft: Raft, step: Step, message: Message | None) -> None:
        assert message is not None, "a send or receive step has a message"
        if message.type not in _MESSAGES:
            return
        prop: dict[str, Any] = {}
        if step is Step.SEND and message.type == MessageType.MSG_APP and message.sender in raft.tracker.progress:
            own = raft.tracker.progress[message.sender]
            prop = {"match": own.match, "next": own.next}
        self._event(raft, step.value + _MESSAGES[message.type], message=message, prop=prop)

    def _change(self, raft: Raft, change: ConfChangeV2) -> None:
        changes = [
            {"nid": str(single.node_id), "action": _ACTIONS[single.type]}
            for single in change.changes
            if single.type in _ACTIONS
        ]
        if changes:
            self._event(raft, Step.CHANGE_CONF.value, prop={"cc": {"changes": changes}})

    def _event(
        self, raft: Raft, name: str, *, message: Message | None = None, prop: dict[str, Any] | None = None
    ) -> None:
        voters = raft.tracker.config.voters
        conf = [_names(voters.incoming.ids()), _names(voters.outgoing.ids())]
        before = self._conf.get(raft.id, conf) if name == Step.APPLY_CONF_CHANGE.value else conf
        self._conf[raft.id] = conf
        event: dict[str, Any] = {
            "name": name,
            "nid": str(raft.id),
            "state": {"term": raft.term, "vote": str(raft.vote), "commit": raft.log.committed},
            "role": str(raft.role),
            "log": raft.log.last_index(),
            "conf": before,
        }
        if message is not None:
            event["msg"] = _message_fields(message)
        if prop:
            event["prop"] = prop
        self._write(json.dumps({"tag": "trace", "event": event}, separators=(",", ":")) + "\n")


def _message_fields(message: Message) -> dict[str, Any]:
    """Returns the fields. A snapshot is an append of all its entries to an empty log, as the specification has it."""
    snapshot = message.type == MessageType.MSG_SNAP
    return {
        "type": message_type_text(message.type),
        "term": message.term,
        "from": str(message.sender),
        "to": str(message.to),
        "entries": message.snapshot.metadata.index if snapshot else len(message.entries),
        "logTerm": 0 if snapshot else message.log_term,
        "index": 0 if snapshot else message.index,
        "commit": message.commit,
        "vote": str(message.vote),
        "reject": message.reject,
        "rejectHint": message.reject_hint,
    }


def _names(members: Iterable[int]) -> list[str]:
    return [str(member) for member in members]
