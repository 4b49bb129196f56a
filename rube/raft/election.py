"""Elections (paper section 5.2), with the pre-vote (dissertation section 9.6)."""

from __future__ import annotations

import enum

from rube.raft import membership, replication
from rube.raft.config import NONE
from rube.raft.entries import EntryId
from rube.raft.quorum import VoteResult
from rube.raft.raft_pb2 import MSG_PRE_VOTE, MSG_PRE_VOTE_RESP, MSG_VOTE, MSG_VOTE_RESP, Entry, Message
from rube.raft.state import Raft, Role


class Campaign(enum.Enum):
    """The reason for an election; the value of TRANSFER is the context of its requests."""

    PRE_ELECTION = b"CampaignPreElection"
    ELECTION = b"CampaignElection"
    TRANSFER = b"CampaignTransfer"
    """The leader has asked for it (dissertation section 3.10): voters need not wait for their lease to end."""


# The type of the answer to each request, and the role of a member that campaigns with it.
_RESPONSES = {
    MSG_VOTE: MSG_VOTE_RESP,
    MSG_PRE_VOTE: MSG_PRE_VOTE_RESP,
}


def on_hup(raft: Raft, message: Message) -> None:
    """Handles MSG_HUP: it is time for an election."""
    hup(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)


def hup(raft: Raft, campaign: Campaign) -> None:
    """Calls an election, unless this member leads or must not be elected."""
    if raft.role is Role.LEADER:
        return
    if not raft.promotable():
        raft.note("cannot campaign: it does not vote, or it takes a snapshot")
    elif membership.unapplied_change(raft):
        # It would count votes by an outdated configuration.
        raft.note("cannot campaign: a committed change of the configuration is not applied")
    else:
        run(raft, campaign)


def run(raft: Raft, campaign: Campaign) -> None:
    """Asks every voter for its vote; its own vote comes with the others, once it is durable."""
    if campaign is Campaign.PRE_ELECTION:
        raft.become_pre_candidate()
        request, term = MSG_PRE_VOTE, raft.term + 1
    else:
        raft.become_candidate()
        request, term = MSG_VOTE, raft.term
    last = raft.log.last_id()
    raft.note(f"campaigns for term {term} with the log up to entry {last.index} of term {last.term}")
    context = campaign.value if campaign is Campaign.TRANSFER else b""
    for voter in raft.tracker.voter_ids():
        if voter == raft.id:
            raft.send(Message(type=_RESPONSES[request], to=voter, term=term))
        else:
            raft.send(Message(type=request, to=voter, term=term, index=last.index, log_term=last.term, context=context))


def in_lease(raft: Raft) -> bool:
    """Returns whether a leader was heard from within the shortest election timeout (dissertation section 4.2.3).

    If leases serve reads, that may also have been before a restart.
    """
    if raft.ticks < raft.guarded_ticks:
        return True
    quiet = raft.election_elapsed < raft.config.election_ticks
    return raft.config.check_quorum and raft.leader != NONE and quiet


def on_vote_request(raft: Raft, message: Message) -> None:
    """Grants the vote to a candidate whose log is at least as up-to-date (paper section 5.4.1), once a term.

    Learners vote, too: the candidate may know already that this one was promoted.
    """
    free = raft.vote == NONE and raft.leader == NONE
    future = message.type == MSG_PRE_VOTE and message.term > raft.term
    granted = raft.vote == message.sender or free or future
    granted = granted and EntryId(message.log_term, message.index) >= raft.log.last_id()
    response = Message(type=_RESPONSES[message.type], to=message.sender, reject=not granted)
    # The candidate that gets the pre-vote may be in a later term than this member, and ignores answers from earlier
    # terms.
    response.term = message.term if granted else raft.term
    raft.send(response)
    if granted and message.type == MSG_VOTE:
        raft.election_elapsed = 0
        raft.vote = message.sender


def on_vote(raft: Raft, message: Message) -> None:
    """Handles a voter's answer to a candidate; pre-votes do not count in the election, nor votes in the pre-vote."""
    wanted = MSG_PRE_VOTE_RESP if raft.role is Role.PRE_CANDIDATE else MSG_VOTE_RESP
    if message.type != wanted:
        return
    raft.tracker.record_vote(message.sender, not message.reject)
    granted, rejected, result = raft.tracker.tally_votes()
    raft.note(f"has {granted} votes and {rejected} rejections")
    if result is VoteResult.LOST:
        raft.become_follower(raft.term, NONE)
    elif result is VoteResult.WON and raft.role is Role.PRE_CANDIDATE:
        run(raft, Campaign.ELECTION)
    elif result is VoteResult.WON:
        raft.become_leader()
        # Once this entry is committed, so are the entries that earlier leaders have left (paper section 5.4.2, 8).
        accepted = replication.append_own(raft, [Entry()])
        assert accepted, "an empty entry is never refused"
        replication.broadcast_append(raft)
