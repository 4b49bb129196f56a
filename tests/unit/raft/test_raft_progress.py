"""A leader's knowledge of a follower: its window of messages, and moves between probing, replicating, a snapshot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rube.raft.inflights import Inflights
from rube.raft.progress import Progress, ProgressState
from rube.raft.quorum import VoteResult
from rube.raft.tracker import ProgressTracker
from tests.unit.raft.test_raft_confchange import tracker_of

PROBE, REPLICATE, SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT


@pytest.mark.parametrize(
    ("messages_max", "bytes_max", "full_at", "free", "again_at"),
    [(0, 0, 0, 0, 0), (1, 0, 1, 1, 2), (1, 10, 1, 1, 2), (15, 0, 15, 6, 22), (8, 400, 4, 2, 7), (8, 406, 4, 3, 8)],
)
def test_a_window_is_full_by_count_or_by_bytes(
    messages_max: int, bytes_max: int, full_at: int, free: int, again_at: int
) -> None:
    window = Inflights(messages_max, bytes_max)
    for index in range(full_at):
        assert not window.full()
        window.add(index, 100 + index)
    assert window.full()
    window.free_le(free)
    for index in range(full_at, again_at):
        assert not window.full()
        window.add(index, 100 + index)
    assert window.full()
    with pytest.raises(AssertionError):
        window.add(100, 1024)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50)), max_size=20), st.integers(0, 60))
def test_a_window_counts_what_is_not_freed(sent: list[tuple[int, int]], freed: int) -> None:
    window = Inflights(20)
    index, left = 0, []
    for step, size in sent:
        index += step
        window.add(index, size)
        left += [size] if index > freed else []
    copy = window.clone()
    window.free_le(freed)
    assert (window.count(), window.bytes) == (len(left), sum(left))
    assert copy.count() == len(sent)
    window.reset()
    assert (window.count(), window.bytes) == (0, 0)


def test_everything_about_a_follower_is_printed() -> None:
    window = Inflights(1)
    window.add(123, 1)
    progress = Progress(
        match=1,
        next=2,
        state=SNAPSHOT,
        pending_snapshot=123,
        append_flow_paused=True,
        is_learner=True,
        inflights=window,
    )
    assert str(progress) == ("StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]")


@pytest.mark.parametrize(
    ("state", "match", "next_", "rejected", "hint", "fresh", "then"),
    [
        (REPLICATE, 5, 10, 5, 5, False, 10),
        (REPLICATE, 5, 10, 4, 4, False, 10),
        (REPLICATE, 5, 10, 9, 9, True, 6),
        (PROBE, 0, 10, 5, 5, False, 10),
        (PROBE, 0, 10, 9, 9, True, 9),
        (PROBE, 0, 2, 1, 1, True, 1),
        (PROBE, 0, 1, 0, 0, True, 1),
        (PROBE, 0, 10, 9, 2, True, 3),
        (PROBE, 0, 10, 9, 0, True, 1),
    ],
)
def test_a_refusal_moves_next_back_unless_it_is_stale(
    state: ProgressState, match: int, next_: int, rejected: int, hint: int, fresh: bool, then: int
) -> None:
    progress = Progress(state=state, match=match, next=next_)
    assert progress.maybe_decrease_to(rejected, hint) is fresh
    assert (progress.match, progress.next) == (match, then)
    progress.check()


@pytest.mark.parametrize(("index", "fresh", "match", "next_"), [(2, False, 3, 5), (3, False, 3, 5), (5, True, 5, 6)])
def test_an_acknowledgement_moves_match_forward(index: int, fresh: bool, match: int, next_: int) -> None:
    progress = Progress(match=3, next=5, append_flow_paused=True)
    assert progress.maybe_update(index) is fresh
    assert (progress.match, progress.next, progress.append_flow_paused) == (match, next_, not fresh)


def test_probing_after_a_snapshot_begins_behind_it() -> None:
    delivered = Progress(match=1, next=11, state=SNAPSHOT, pending_snapshot=10, sent_commit=10)
    delivered.become_probe()
    assert (delivered.next, delivered.sent_commit, delivered.pending_snapshot) == (11, 10, 0)
    failed = Progress(match=1, next=11, state=SNAPSHOT, pending_snapshot=0, sent_commit=10)
    failed.become_probe()
    assert (failed.next, failed.sent_commit) == (2, 1)


def test_a_full_window_pauses_replication_until_it_is_answered() -> None:
    progress = Progress(match=1, next=2, inflights=Inflights(2))
    progress.become_replicate()
    progress.sent_entries(3, 30)
    assert (progress.next, progress.is_paused()) == (5, False)
    progress.sent_entries(1, 10)
    assert (progress.next, progress.is_paused()) == (6, True)
    progress.inflights.free_le(4)
    progress.maybe_update(4)
    assert not progress.is_paused()


def test_a_probe_pauses_and_a_snapshot_takes_no_append() -> None:
    progress = Progress(match=1, next=2)
    progress.sent_entries(0, 0)
    assert not progress.is_paused()
    progress.sent_entries(1, 1)
    assert (progress.next, progress.is_paused()) == (2, True)
    progress.become_snapshot(7)
    assert (progress.next, progress.sent_commit, progress.is_paused()) == (8, 7, True)
    with pytest.raises(AssertionError):
        progress.sent_entries(1, 1)


def test_a_commit_index_is_sent_only_if_it_says_something() -> None:
    progress = Progress(match=1, next=5, sent_commit=3)
    assert progress.can_bump_commit(4)
    assert not progress.can_bump_commit(3)
    progress.sent_commit = 4
    assert not progress.can_bump_commit(9), "it will not have more than up to next - 1"


def test_learners_count_neither_for_commits_nor_for_votes_nor_for_activity() -> None:
    tracker: ProgressTracker = tracker_of("v1 v2 v3 l4 l5")
    for member, progress in tracker:
        progress.match, progress.recent_active = member * 10, member in (1, 4, 5)
        tracker.record_vote(member, member != 2)
    assert tracker.committed() == 20
    assert not tracker.quorum_active()
    assert tracker.tally_votes() == (2, 1, VoteResult.WON)
    tracker.record_vote(2, True)
    assert tracker.tally_votes()[:2] == (2, 1), "the first answer counts"
