"""Changes of the configuration, from proposal to effect (paper section 6, dissertation chapter 4).

A change takes effect when it is applied, not when it is appended; so it is enough that at most one is unapplied.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from rube.raft import reading, replication
from rube.raft.confchange import Changed, Changer, ConfChangeError
from rube.raft.config import NONE
from rube.raft.errors import ConfChangeInvalidError
from rube.raft.raft_pb2 import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    TRANSITION_AUTO,
    TRANSITION_JOINT_EXPLICIT,
    ConfChange,
    ConfChangeSingle,
    ConfChangeV2,
    ConfState,
    Entry,
)
from rube.raft.state import Raft, Role
from rube.raft.trace import Step

AnyConfChange = ConfChange | ConfChangeV2


def as_v2(change: AnyConfChange) -> ConfChangeV2:
    """Returns the same change in the general form."""
    if isinstance(change, ConfChangeV2):
        return change
    single = ConfChangeSingle(type=change.type, node_id=change.node_id)
    return ConfChangeV2(changes=[single], context=change.context)


def to_entry(change: AnyConfChange) -> Entry:
    """Returns the change as a proposal."""
    kind = ENTRY_CONF_CHANGE_V2 if isinstance(change, ConfChangeV2) else ENTRY_CONF_CHANGE
    return Entry(type=kind, data=change.SerializeToString(deterministic=True))


def from_entry(entry: Entry) -> ConfChangeV2 | None:
    """Returns the change that an entry carries; None for a command. Raises ConfChangeInvalidError for unreadable
    bytes."""
    if entry.type == ENTRY_NORMAL:
        return None
    change: AnyConfChange = ConfChange() if entry.type == ENTRY_CONF_CHANGE else ConfChangeV2()
    try:
        change.ParseFromString(entry.data)
    except DecodeError as error:
        raise ConfChangeInvalidError(f"entry {entry.index}: {len(entry.data)} bytes are no ConfChange") from error
    return as_v2(change)


def leaves_joint(change: ConfChangeV2) -> bool:
    """Returns whether the change is empty, which ends a joint configuration."""
    return not change.changes and change.transition == TRANSITION_AUTO


def enters_joint(change: ConfChangeV2) -> bool:
    """Returns whether it goes through a joint configuration: with more than one change, or if the proposer asks for
    it."""
    return len(change.changes) > 1 or change.transition != TRANSITION_AUTO


def admit_changes(raft: Raft, entries: list[Entry]) -> list[Entry]:
    """Returns a leader's proposals, in which a change that does not fit now is replaced by an empty entry.

    The check sees the configuration that is applied here; with conf_change_validation off it is the driver's.
    """
    if not any(entry.type for entry in entries):
        return entries
    admitted = []
    for position, entry in enumerate(entries, start=1):
        change = from_entry(entry)
        refusal = _refusal(raft, change) if change is not None else ""
        if change is None:
            admitted.append(entry)
        elif refusal and raft.config.conf_change_validation:
            raft.note(f"ignores the change of the configuration: {refusal}")
            admitted.append(Entry())
        else:
            raft.pending_conf_index = raft.log.last_index() + position
            raft.observe(Step.CHANGE_CONF, change=change)
            admitted.append(entry)
    return admitted


def _refusal(raft: Raft, change: ConfChangeV2) -> str:
    joint = raft.tracker.config.joint()
    if raft.pending_conf_index > raft.log.applied:
        return f"one may be unapplied at {raft.pending_conf_index}; {raft.log.applied} is applied"
    if joint and change.changes:
        return "the joint configuration must be left first"
    if not joint and not change.changes:
        return "there is no joint configuration to leave"
    # No other change comes before this one, so a change that fits now fits when it is applied. (etcd does not check;
    # when such a change is committed, every member panics.)
    try:
        _changed(raft, change)
    except ConfChangeError as error:
        return error.message
    return ""


def apply_conf_change(raft: Raft, change: AnyConfChange) -> ConfState:
    """Puts a committed change into effect. Raises ConfChangeError if it does not fit the configuration."""
    return switch(raft, _changed(raft, as_v2(change)))


def _changed(raft: Raft, change: ConfChangeV2) -> Changed:
    """Returns the configuration after the change. Raises ConfChangeError."""
    changer = Changer(raft.tracker, raft.log.last_index())
    if leaves_joint(change):
        return changer.leave_joint()
    if enters_joint(change):
        return changer.enter_joint(change.changes, auto_leave=change.transition != TRANSITION_JOINT_EXPLICIT)
    return changer.simple(change.changes)


def switch(raft: Raft, changed: Changed) -> ConfState:
    """Installs a configuration, and does what follows from it: a removed leader steps down, quorums may be smaller, new
    members need entries."""
    raft.tracker.config, raft.tracker.progress = changed
    raft.observe(Step.APPLY_CONF_CHANGE)
    raft.note(f"has the configuration {raft.tracker.config}")
    conf_state = raft.tracker.conf_state()
    own = raft.tracker.progress.get(raft.id)
    raft.is_learner = own is not None and own.is_learner
    if raft.role is not Role.LEADER:
        return conf_state
    if own is None or own.is_learner:
        if raft.config.step_down_on_removal:
            raft.become_follower(raft.term, NONE)
        return conf_state
    _lead_on(raft)
    return conf_state


def _lead_on(raft: Raft) -> None:
    if replication.maybe_commit(raft):
        reading.release_postponed(raft)
        replication.broadcast_append(raft)
    else:
        # New members need not wait for a heartbeat.
        for member in sorted(raft.tracker.progress):
            if member != raft.id:
                replication.send_append(raft, member, empty=False)
    if raft.transferee != NONE and raft.transferee not in raft.tracker.config.voters.ids():
        raft.transferee = NONE


def unapplied_change(raft: Raft) -> bool:
    """Returns whether a committed change of the configuration is not applied here yet."""
    log = raft.log
    for page in log.pages(log.applied + 1, log.committed + 1, log.applying_bytes_max):
        if any(entry.type != ENTRY_NORMAL for entry in page):
            return True
    return False
