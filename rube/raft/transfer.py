"""The transfer of leadership (dissertation section 3.10), and followers that forget their leader."""

from __future__ import annotations

from rube.raft import election, replication
from rube.raft.config import NONE, ReadMode
from rube.raft.progress import Progress
from rube.raft.raft_pb2 import MSG_TIMEOUT_NOW, Message
from rube.raft.state import Raft


def on_transfer(raft: Raft, message: Message, progress: Progress) -> None:
    """Brings the member up to date, then tells it to campaign; until then the leader takes no proposals."""
    target = message.sender
    if progress.is_learner:
        raft.note(f"does not transfer leadership: member {target} is a learner")
        return
    if raft.transferee == target:
        return
    raft.transferee = NONE
    if target == raft.id:
        return
    # The transfer has one election timeout; then proposals are taken again.
    raft.election_elapsed = 0
    raft.transferee = target
    if not on_caught_up(raft, target, progress):
        replication.send_append(raft, target)


def on_caught_up(raft: Raft, member: int, progress: Progress) -> bool:
    """Tells the transferee to campaign, if the member is it and has the whole log."""
    if member != raft.transferee or progress.match != raft.log.last_index():
        return False
    raft.gave_leave = True
    raft.send(Message(type=MSG_TIMEOUT_NOW, to=member))
    return True


def on_transfer_as_follower(raft: Raft, message: Message) -> None:
    """Passes the request on to the leader; without a leader it is lost."""
    if raft.leader == NONE:
        raft.note("drops a transfer of leadership: no leader is known")
    else:
        raft.forward(message)


def on_timeout_now(raft: Raft, message: Message) -> None:
    """Campaigns because the leader asks for it: without a pre-vote, since the leader is healthy."""
    election.hup(raft, election.Campaign.TRANSFER)


def on_forget_leader(raft: Raft, message: Message) -> None:
    """Makes a follower forget the leader within the term: it may then grant a pre-vote, though not a second vote.

    Not with lease-based reads, which depend on followers that keep their leader's lease.
    """
    if raft.config.read_mode is ReadMode.LEASE_BASED:
        raft.note("does not forget the leader: its lease may serve reads")
    elif raft.leader != NONE:
        raft.note(f"forgets leader {raft.leader}")
        raft.leader = NONE
