"""Linearizable reads without a log entry (dissertation section 6.4): their handling in each role."""

from __future__ import annotations

from rube.raft import replication
from rube.raft.config import NONE, ReadMode
from rube.raft.raft_pb2 import MSG_READ_INDEX_RESP, Message
from rube.raft.reads import ReadState
from rube.raft.state import Raft


def on_read_index(raft: Raft, message: Message) -> None:
    """Takes a read at the leader, of its own driver or forwarded."""
    if len(message.entries) != 1:
        raft.note(f"ignores a read without its context from member {message.sender}")
    elif raft.reads.full():
        raft.note("drops a read: reads_pending_max wait already")
    elif not raft.committed_in_term():
        # The leader's commit index may be behind what earlier leaders have acknowledged (paper section 8); also that of
        # a lone voter whose cluster was larger before. (etcd answers there at once.)
        raft.reads.postpone(message)
    else:
        _confirm(raft, message)


def release_postponed(raft: Raft) -> None:
    """Takes the postponed reads, since an entry of this term is committed."""
    for message in raft.reads.take_postponed():
        _confirm(raft, message)


def _confirm(raft: Raft, message: Message) -> None:
    if raft.tracker.is_singleton() or _leased(raft):
        _answer(raft, message, raft.log.committed)
        return
    raft.reads.add(message, raft.log.committed)
    replication.broadcast_heartbeat(raft)


def _leased(raft: Raft) -> bool:
    """Returns whether no other leader can be elected yet (dissertation section 6.4.1).

    A member that was told to campaign may win at any time (section 3.10), so that ends the term's leases.
    """
    if raft.config.read_mode is not ReadMode.LEASE_BASED or raft.gave_leave:
        return False
    return raft.reads.leased(raft.tracker.config.voters, raft.ticks)


def on_confirmation(raft: Raft, message: Message) -> None:
    """Handles a follower's answer to a heartbeat, which confirms that the leader led when it was sent."""
    if message.context:
        raft.reads.acknowledge(message.sender, message.context)
        for read in raft.reads.confirmed_by(raft.tracker.config.voters):
            _answer(raft, read.request, read.index)


def _answer(raft: Raft, request: Message, index: int) -> None:
    if request.sender in (NONE, raft.id):
        raft.read_states.append(ReadState(index, request.entries[0].data))
    else:
        raft.send(Message(type=MSG_READ_INDEX_RESP, to=request.sender, index=index, entries=request.entries))


def on_read_index_as_follower(raft: Raft, message: Message) -> None:
    """Passes the read on to the leader; without a leader it is lost, and its driver asks again."""
    if raft.leader == NONE:
        raft.note("drops a read: no leader is known")
    else:
        raft.forward(message)


def on_read_index_response(raft: Raft, message: Message) -> None:
    """Handles the leader's answer to a read that was passed on."""
    if len(message.entries) == 1:
        raft.read_states.append(ReadState(message.index, message.entries[0].data))
    else:
        raft.note(f"ignores the answer to a read without its context from member {message.sender}")
