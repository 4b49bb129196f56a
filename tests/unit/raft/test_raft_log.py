"""The log: what is stable, what is not, and how far it is committed and applied."""

from __future__ import annotations

import pytest

from rube.raft import NO_LIMIT, LogCompactedError, LogUnavailableError, MemoryStorage, SnapshotOutOfDateError
from rube.raft.entries import EntryId, fitting, size_bytes
from rube.raft.log import RaftLog
from rube.raft.raft_pb2 import ConfState, Entry
from rube.raft.unstable import Unstable
from tests.unit.raft.members import ids, log, snapshot

# Sizes


def test_what_fits_is_a_prefix_and_at_least_one_entry() -> None:
    entries = log(*[1] * 200)
    one = entries[0].ByteSize()
    assert fitting(entries, 0, 200, NO_LIMIT) == entries
    assert fitting(entries, 0, 200, 0) == entries[:1]
    assert fitting(entries, 3, 200, one - 1) == entries[3:4]
    assert fitting(entries, 3, 200, 2 * one) == entries[3:5]
    assert fitting(entries, 3, 3, 100) == []


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 150])
def test_what_fits_does_not_depend_on_how_it_is_counted(count: int) -> None:
    entries = log(*[1] * 150)
    limit = size_bytes(entries[:count])
    assert len(fitting(entries, 0, 150, limit)) == count
    assert len(fitting(entries, 0, 150, limit + 1)) == count


# Unstable


def test_entries_that_follow_are_appended() -> None:
    unstable = Unstable(5)
    unstable.truncate_and_append(log(1, first=5))
    unstable.accept_in_progress()
    unstable.truncate_and_append(log(1, first=6))
    assert ids(unstable.entries) == [(1, 5), (1, 6)]
    assert ids(unstable.next_entries()) == [(1, 6)]


def test_entries_from_before_replace_everything_even_what_is_being_written() -> None:
    unstable = Unstable(5)
    unstable.truncate_and_append(log(1, 1, first=5))
    unstable.accept_in_progress()
    unstable.truncate_and_append(log(2, 2, first=4))
    assert (unstable.offset, unstable.offset_in_progress) == (4, 4)
    assert ids(unstable.next_entries()) == [(2, 4), (2, 5)]


def test_entries_in_the_middle_replace_the_tail() -> None:
    unstable = Unstable(5)
    unstable.truncate_and_append(log(1, 1, 1, first=5))
    unstable.accept_in_progress()
    handed_out = unstable.slice(5, 8, NO_LIMIT)
    unstable.truncate_and_append(log(2, first=6))
    assert ids(unstable.entries) == [(1, 5), (2, 6)]
    assert ids(unstable.next_entries()) == [(2, 6)]
    assert ids(handed_out) == [(1, 5), (1, 6), (1, 7)], "what was handed out stays"


def test_a_gap_is_refused() -> None:
    with pytest.raises(AssertionError, match="gap"):
        Unstable(5).truncate_and_append(log(1, first=6))


def test_only_what_is_still_the_logs_becomes_stable() -> None:
    unstable = Unstable(5)
    unstable.truncate_and_append(log(1, 2, first=5))
    assert not unstable.stable_to(EntryId(1, 6)), "another entry's term"
    assert not unstable.stable_to(EntryId(1, 4)), "written long ago"
    assert not unstable.stable_to(EntryId(2, 7)), "not there"
    assert unstable.stable_to(EntryId(1, 5))
    assert (unstable.offset, ids(unstable.entries)) == (6, [(2, 6)])


def test_a_snapshot_is_in_the_way_until_it_is_stored() -> None:
    unstable = Unstable(5)
    unstable.truncate_and_append(log(1, first=5))
    unstable.restore(snapshot(7, 2))
    assert (unstable.first_index(), unstable.offset, unstable.term(7)) == (8, 8, 2)
    assert unstable.next_snapshot() is not None
    unstable.accept_in_progress()
    assert unstable.next_snapshot() is None
    unstable.stable_snapshot_to(6)
    assert unstable.snapshot is not None, "that was another one"
    unstable.stable_snapshot_to(7)
    assert unstable.snapshot is None


# The log


def stable_and_unstable() -> RaftLog:
    """Compacted up to 2, 3 to 5 stable, 6 and 7 not."""
    storage = MemoryStorage()
    storage.apply_snapshot(snapshot(2, 1))
    storage.append(log(1, 1, 2, first=3))
    raft_log = RaftLog(storage)
    raft_log.append(log(2, 3, first=6))
    return raft_log


def test_terms_are_known_from_the_last_compacted_entry_to_the_end() -> None:
    raft_log = stable_and_unstable()
    assert [raft_log.term(index) for index in range(9)] == [None, None, 1, 1, 1, 2, 2, 3, None]
    assert raft_log.last_id() == EntryId(3, 7)


@pytest.mark.parametrize(("low", "high"), [(3, 8), (3, 4), (4, 6), (5, 7), (6, 8), (6, 6)])
def test_a_slice_spans_what_is_stable_and_what_is_not(low: int, high: int) -> None:
    entries = stable_and_unstable().slice(low, high, NO_LIMIT)
    assert [entry.index for entry in entries] == list(range(low, high))


@pytest.mark.parametrize(("count", "given"), [(0, 1), (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)])
def test_a_slice_is_as_long_as_fits(count: int, given: int) -> None:
    raft_log = stable_and_unstable()
    one = raft_log.slice(3, 4, NO_LIMIT)[0].ByteSize()
    assert len(raft_log.slice(3, 8, count * one)) == given
    assert len(raft_log.slice(3, 8, count * one + one - 1)) == given


def test_what_is_compacted_cannot_be_read() -> None:
    with pytest.raises(LogCompactedError, match="entry 2 is compacted"):
        stable_and_unstable().slice(2, 4, NO_LIMIT)


@pytest.mark.parametrize(
    ("previous", "terms", "commit", "last", "result"),
    [
        (EntryId(3, 7), (), 7, 7, [1, 1, 2, 2, 3]),
        (EntryId(3, 7), (3,), 9, 8, [1, 1, 2, 2, 3, 3]),
        (EntryId(2, 5), (2, 3), 7, 7, [1, 1, 2, 2, 3]),
        (EntryId(2, 5), (2,), 6, 6, [1, 1, 2, 2, 3]),
        (EntryId(2, 6), (4, 4), 6, 8, [1, 1, 2, 2, 4, 4]),
        (EntryId(1, 4), (4,), 4, 5, [1, 1, 4]),
    ],
)
def test_an_append_that_matches_is_taken(
    previous: EntryId, terms: tuple[int, ...], commit: int, last: int, result: list[int]
) -> None:
    raft_log = stable_and_unstable()
    assert raft_log.maybe_append(previous, log(*terms, first=previous.index + 1), commit) == last
    assert [entry.term for entry in raft_log.entries(3, NO_LIMIT)] == result
    assert raft_log.committed == min(commit, last)


@pytest.mark.parametrize("previous", [EntryId(2, 7), EntryId(3, 8), EntryId(1, 1)])
def test_an_append_that_does_not_match_is_refused(previous: EntryId) -> None:
    raft_log = stable_and_unstable()
    assert raft_log.maybe_append(previous, log(4, first=previous.index + 1), 9) is None
    assert (raft_log.last_index(), raft_log.committed) == (7, 2)


@pytest.mark.parametrize("entries", [log(3, first=9), log(3, first=8) + log(3, first=10)])
def test_an_append_with_a_gap_is_no_leaders(entries: list[Entry]) -> None:
    with pytest.raises(AssertionError, match="gap"):
        stable_and_unstable().maybe_append(EntryId(3, 7), entries, 7)


def test_a_committed_entry_is_never_replaced() -> None:
    raft_log = stable_and_unstable()
    raft_log.commit_to(5)
    with pytest.raises(AssertionError, match="committed"):
        raft_log.maybe_append(EntryId(1, 4), log(4, first=5), 5)
    with pytest.raises(AssertionError, match="committed"):
        raft_log.append(log(4, first=5))


def test_a_commit_past_the_end_means_that_the_log_was_lost() -> None:
    with pytest.raises(AssertionError, match="was the log lost"):
        stable_and_unstable().commit_to(8)


def test_the_commit_index_never_falls() -> None:
    raft_log = stable_and_unstable()
    raft_log.commit_to(6)
    raft_log.commit_to(4)
    assert raft_log.committed == 6


@pytest.mark.parametrize(
    ("index", "term", "guess"),
    [(7, 3, (7, 3)), (7, 2, (6, 2)), (7, 1, (4, 1)), (7, 0, (1, 0)), (8, 5, (8, 0)), (1, 1, (1, 0)), (0, 0, (0, 0))],
)
def test_where_logs_may_agree_is_the_last_index_without_a_larger_term(
    index: int, term: int, guess: tuple[int, int]
) -> None:
    assert stable_and_unstable().conflict_by_term(index, term) == guess


def test_committed_entries_are_handed_out_once_and_up_to_the_limit() -> None:
    raft_log = stable_and_unstable()
    one = raft_log.slice(3, 4, NO_LIMIT)[0].ByteSize()
    raft_log.applying_bytes_max = 2 * one
    raft_log.commit_to(7)
    first = raft_log.next_committed(allow_unstable=True)
    assert [entry.index for entry in first] == [3, 4]
    raft_log.accept_applying(first, allow_unstable=True)
    raft_log.applied_to(3)
    assert raft_log.next_committed(allow_unstable=True) == []
    raft_log.applied_to(4)
    assert [entry.index for entry in raft_log.next_committed(allow_unstable=True)] == [5, 6]


def test_what_is_not_written_here_is_handed_out_only_if_allowed() -> None:
    raft_log = stable_and_unstable()
    raft_log.commit_to(7)
    assert [entry.index for entry in raft_log.next_committed(allow_unstable=False)] == [3, 4, 5]
    assert [entry.index for entry in raft_log.next_committed(allow_unstable=True)] == [3, 4, 5, 6, 7]


def test_pages_cover_the_range_a_bounded_piece_at_a_time() -> None:
    raft_log = stable_and_unstable()
    one = raft_log.slice(3, 4, NO_LIMIT)[0].ByteSize()
    pages = list(raft_log.pages(3, 8, 2 * one))
    assert [[entry.index for entry in page] for page in pages] == [[3, 4], [5, 6], [7]]


# The storage in memory


def test_a_storage_starts_with_its_configuration_and_nothing_else() -> None:
    storage = MemoryStorage(ConfState(voters=[1, 2]))
    hard_state, conf_state = storage.initial_state()
    assert (hard_state.term, list(conf_state.voters)) == (0, [1, 2])
    assert (storage.first_index(), storage.last_index(), storage.term(0)) == (1, 0, 0)


def test_a_storage_overwrites_from_the_first_entry_written() -> None:
    storage = MemoryStorage()
    storage.append(log(1, 1, 1))
    held = storage.entries(1, 4, NO_LIMIT)
    storage.append(log(2, first=2))
    assert ids(storage.entries(1, 3, NO_LIMIT)) == [(1, 1), (2, 2)]
    assert ids(held) == [(1, 1), (1, 2), (1, 3)], "what was read stays"
    with pytest.raises(AssertionError, match="gap"):
        storage.append(log(2, first=5))


def test_a_storage_forgets_what_is_compacted_but_for_one_term() -> None:
    storage = MemoryStorage()
    storage.append(log(1, 2, 3))
    storage.compact(2)
    assert (storage.first_index(), storage.last_index(), storage.term(2)) == (3, 3, 2)
    with pytest.raises(LogCompactedError):
        storage.term(1)
    with pytest.raises(LogCompactedError):
        storage.entries(2, 4, NO_LIMIT)
    with pytest.raises(LogCompactedError):
        storage.compact(2)
    storage.append(log(1, 2, 3, 4))
    assert ids(storage.entries(3, 5, NO_LIMIT)) == [(3, 3), (4, 4)], "what is compacted is skipped"


def test_a_storage_says_what_it_has_not_got_yet() -> None:
    storage = MemoryStorage()
    storage.append(log(1))
    with pytest.raises(LogUnavailableError):
        storage.term(2)
    with pytest.raises(LogUnavailableError):
        storage.entries(1, 3, NO_LIMIT)


def test_a_storage_takes_only_newer_snapshots() -> None:
    storage = MemoryStorage()
    storage.append(log(1, 1, 1))
    storage.create_snapshot(2, ConfState(voters=[1]), b"two")
    assert (storage.snapshot().metadata.index, storage.last_index()) == (2, 3)
    for index in (1, 2):
        with pytest.raises(SnapshotOutOfDateError):
            storage.create_snapshot(index, None, b"")
        with pytest.raises(SnapshotOutOfDateError):
            storage.apply_snapshot(snapshot(index, 1))
    storage.apply_snapshot(snapshot(9, 4))
    assert (storage.first_index(), storage.last_index(), storage.term(9)) == (10, 9, 4)


def test_a_snapshot_that_was_given_does_not_change() -> None:
    storage = MemoryStorage()
    storage.append(log(1, 1))
    given = storage.create_snapshot(1, None, b"one")
    given.metadata.index = 7
    assert storage.snapshot().metadata.index == 1
