"""Snapshots for members that are far behind (paper section 7)."""

from __future__ import annotations

from rube.raft import Role, SnapshotUnavailableError
from rube.raft.progress import ProgressState
from rube.raft.raft_pb2 import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    HardState,
    Message,
    Snapshot,
)
from tests.unit.raft.members import Member, cluster, snapshot


def leader_of_lagging() -> tuple[Member, Message]:
    """A leader whose log starts at 12, and what it has just sent to member 2, which has nothing."""
    member = Member(start=snapshot(11, 1), voters=(1, 2, 3))
    member.lead()
    member.storage.applied = 11  # it makes no newer snapshot
    progress = member.raft.tracker.progress[2]
    progress.match, progress.next = 0, 5
    member.step(MSG_HEARTBEAT_RESP, 2)
    (sent,) = member.drain()
    return member, sent


def test_who_needs_compacted_entries_gets_the_snapshot_and_then_nothing() -> None:
    leader, sent = leader_of_lagging()
    assert (sent.type, sent.to, sent.snapshot.metadata.index) == (MSG_SNAP, 2, 11)
    progress = leader.raft.tracker.progress[2]
    assert (progress.state, progress.pending_snapshot) == (ProgressState.SNAPSHOT, 11)
    leader.node.propose(b"a")
    assert {message.to for message in leader.drain()} == {3}


def test_a_lost_snapshot_is_tried_again_with_the_next_heartbeat() -> None:
    leader, _ = leader_of_lagging()
    leader.node.report_snapshot(2, delivered=False)
    progress = leader.raft.tracker.progress[2]
    assert (progress.state, progress.next, progress.append_flow_paused) == (ProgressState.PROBE, 1, True)
    leader.step(MSG_HEARTBEAT_RESP, 2)
    assert [message.type for message in leader.drain()] == [MSG_SNAP]


def test_a_delivered_snapshot_waits_for_the_members_own_word() -> None:
    leader, _ = leader_of_lagging()
    leader.node.report_snapshot(2, delivered=True)
    progress = leader.raft.tracker.progress[2]
    assert (progress.state, progress.next, progress.append_flow_paused) == (ProgressState.PROBE, 12, True)
    leader.step(MSG_APP_RESP, 2, index=11)
    assert progress.state is ProgressState.REPLICATE
    assert [(message.type, message.index, len(message.entries)) for message in leader.drain()] == [(MSG_APP, 11, 1)]


def test_the_members_word_alone_suffices() -> None:
    leader, _ = leader_of_lagging()
    leader.step(MSG_APP_RESP, 2, index=12)
    progress = leader.raft.tracker.progress[2]
    assert (progress.state, progress.next, progress.pending_snapshot) == (ProgressState.REPLICATE, 13, 0)


def test_a_status_for_who_takes_no_snapshot_is_ignored() -> None:
    leader = Member()
    leader.lead()
    leader.node.report_snapshot(2, delivered=False)
    assert leader.raft.tracker.progress[2].state is ProgressState.REPLICATE


def test_no_snapshot_for_who_was_not_heard_of() -> None:
    leader, _ = leader_of_lagging()
    leader.node.report_snapshot(2, delivered=False)
    leader.raft.tracker.progress[2].recent_active = False
    leader.raft.tracker.progress[2].append_flow_paused = False
    leader.node.propose(b"a")
    assert {message.to for message in leader.drain()} == {3}


def test_a_snapshot_that_takes_time_is_asked_for_again() -> None:
    leader, _ = leader_of_lagging()
    leader.node.report_snapshot(2, delivered=False)
    given = leader.storage.snapshot

    def busy() -> Snapshot:
        raise SnapshotUnavailableError("being made")

    leader.storage.snapshot = busy  # type: ignore[method-assign]  # a storage that is busy
    leader.step(MSG_HEARTBEAT_RESP, 2)
    assert leader.drain() == []
    leader.storage.snapshot = given  # type: ignore[method-assign]  # and then is not
    leader.step(MSG_HEARTBEAT_RESP, 2)
    assert [message.type for message in leader.drain()] == [MSG_SNAP]


def test_a_follower_replaces_log_state_and_configuration() -> None:
    member = Member(terms=(1, 1))
    member.step(MSG_SNAP, term=2, snapshot=snapshot(11, 2, voters=(1, 2), learners=(3,)))
    assert str(member.raft.tracker.config) == "voters=(1 2) learners=(3)"
    ready = member.handle()
    assert ready.snapshot is not None
    assert (ready.committed_entries, ready.entries) == ([], [])
    assert [(message.type, message.index) for message in ready.messages] == [(MSG_APP_RESP, 11)]
    assert (member.raft.log.applied, member.raft.log.committed, member.raft.log.first_index()) == (11, 11, 12)
    assert (member.storage.first_index(), member.storage.last_index()) == (12, 11)


def test_a_snapshot_of_what_is_committed_is_no_news() -> None:
    member = Member(terms=(1, 1, 1), hard_state=HardState(term=1, commit=2))
    member.step(MSG_SNAP, snapshot=snapshot(2, 1))
    ready = member.handle()
    assert ready.snapshot is None
    assert [message.index for message in ready.messages] == [2]
    assert member.log_terms() == [1, 1, 1]


def test_a_snapshot_of_what_the_log_has_only_commits() -> None:
    member = Member(terms=(1, 1, 1), hard_state=HardState(term=1))
    member.step(MSG_SNAP, snapshot=snapshot(2, 1))
    ready = member.handle()
    assert ready.snapshot is None
    assert (member.raft.log.committed, member.log_terms()) == (2, [1, 1, 1])


def test_a_snapshot_for_others_is_ignored() -> None:
    member = Member(hard_state=HardState(term=1))
    member.step(MSG_SNAP, snapshot=snapshot(5, 1, voters=(2, 3)))
    ready = member.handle()
    assert ready.snapshot is None
    assert member.raft.log.last_index() == 0


def test_who_takes_a_snapshot_does_not_campaign_before_it_is_stored() -> None:
    member = Member()
    member.step(MSG_SNAP, term=1, snapshot=snapshot(5, 1))
    member.tick(50)
    assert member.role is Role.FOLLOWER
    member.drain()
    member.tick(50)
    assert member.role is Role.CANDIDATE


def test_entries_behind_a_snapshot_are_applied_after_it() -> None:
    member = Member(hard_state=HardState(term=1))
    member.step(MSG_SNAP, snapshot=snapshot(5, 1))
    member.step(MSG_APP, index=5, log_term=1, entries=[], commit=5)
    assert member.node.ready().committed_entries == []
    member.storage.apply_snapshot(snapshot(5, 1))
    member.node.advance()


def test_a_member_that_was_away_is_brought_back_by_a_snapshot() -> None:
    net = cluster(3)
    net.elect(1)
    net.isolate(3)
    for number in range(20):
        net[1].node.propose(b"%d" % number)
        net.run()
    net[1].compact(15)
    net.heal()
    net[1].tick()
    net.run()
    assert net[3].raft.log.last_index() == 21
    assert net[3].raft.log.first_index() > 1
    assert net[1].raft.tracker.progress[3].state is ProgressState.REPLICATE
    net[1].node.propose(b"more")
    net.run()
    assert net[3].applied[-1].data == b"more"
