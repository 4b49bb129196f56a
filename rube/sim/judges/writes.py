"""The promises of the store to its writers: nothing acknowledged is lost, and revisions only grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rube.api import Unit
from rube.sim.judges.contents import Content, metadata_difference, without_revisions
from rube.sim.judges.history import History
from rube.sim.judges.order import Order
from rube.sim.judges.records import Attempt, LogEntry, Outcome
from rube.sim.judges.stored import expected_after, told_difference
from rube.sim.judges.timeline import Timeline
from rube.sim.judges.verdict import Verdict, judge, time_text

UNIT_PREFIX = f"{Unit.DESCRIPTOR.full_name}/"


def acknowledged_writes(history: History, *, asked: bool = True) -> Verdict:
    """Checks that every acknowledged write is in the store's log at the promised revision, as it was sent, with an
    answer that has the stored object; and that the API shows the log's last state in the end. If the check was `asked`
    for, something must have been written."""
    writes = [attempt for attempt in history.attempts if attempt.outcome is Outcome.OK and attempt.is_write]
    if asked and not writes:
        return Verdict(check="acknowledged_writes", passed=False, text="nothing was written")
    users = sum(attempt.user for attempt in writes)
    return judge(
        "acknowledged_writes",
        f"none of {len(writes)} acknowledged writes was lost ({users} of users)",
        [*(line for attempt in writes for line in _lost(attempt, history)), *_final(history)],
        "acknowledged writes were lost",
    )


def _stores(history: History) -> Iterator[str]:
    """Every answer and every response of a watch names a store that there is."""
    for attempt in history.attempts:
        if attempt.outcome is Outcome.OK and attempt.store_id not in history.store_ids:
            yield f"{attempt.where} was answered by store {attempt.store_id!r}, which there is not"
    for stream in history.streams:
        for delivery in stream.deliveries:
            if delivery.store_id not in history.store_ids:
                yield f"{stream.where} got store {delivery.store_id!r}, which does not exist"


def _lost(attempt: Attempt, history: History) -> Iterator[str]:
    timeline = history.timeline
    for index, key in enumerate(attempt.keys):
        there = timeline.at(key, attempt.revision)
        if attempt.deletions and attempt.deletions[index].gone:
            if there is not None or not timeline.changed_at(key, attempt.revision):
                yield f"{attempt.where} was acknowledged at revision {attempt.revision}, but the log does not have it"
            continue
        if there is None:
            yield f"{attempt.where} was acknowledged at revision {attempt.revision}, but the log does not have it"
        elif attempt.metadata and attempt.metadata[index] != there.obj.metadata:
            told = attempt.metadata[index]
            yield f"{attempt.where} at revision {attempt.revision}: {metadata_difference(there, told)}"
        elif not _is_as_sent(attempt, key, there, timeline):
            expected = expected_after(attempt, key, there, timeline, there.revision - 1)
            entry = LogEntry(there.revision, key, there)
            yield f"{attempt.where} at revision {attempt.revision} is not kept: {told_difference(expected, entry)}"


def _is_as_sent(attempt: Attempt, key: str, there: Content, timeline: Timeline) -> bool:
    """Returns whether the request makes the object of the state before it, or of the object itself, if it was so
    already."""
    bases = [attempt.revision] if there.revision < attempt.revision else [there.revision - 1, there.revision]
    for base in bases:
        expected = expected_after(attempt, key, there, timeline, base)
        if expected is not None and without_revisions(expected) == there.body:
            return True
    return False


def _final(history: History) -> Iterator[str]:
    timeline = history.timeline
    for key in timeline.keys:
        last = timeline.at(key, timeline.revision)
        there = history.final.get(key)
        if key.startswith(UNIT_PREFIX) and there != (last.revision if last else None):
            yield f"the log ends with {key} at revision {last.revision if last else 'none'}, the store shows {there}"


def revisions_monotonic(history: History) -> Verdict:
    """The store's revision strictly grows with each commit, and no answer is older than one given before it began."""
    return judge(
        "revisions_monotonic",
        f"revisions only grew over {len(history.commits)} commits, for every client",
        [*_commits(history), *_answers(history), *_stores(history)],
        "a revision went back",
    )


def _commits(history: History) -> Iterator[str]:
    """Real-time order: a commit is newer than all that were acknowledged, by any apiserver, before it was asked for.

    Those under way at the same time may be acknowledged in any order.
    """
    acknowledged = sorted(history.commits, key=lambda item: item.at_ns)
    newest = ended = 0
    for commit in sorted(history.commits, key=lambda item: (item.start_ns, item.revision)):
        while ended < len(acknowledged) and acknowledged[ended].at_ns < commit.start_ns:
            newest = max(newest, acknowledged[ended].revision)
            ended += 1
        if commit.revision <= newest:
            yield f"{time_text(commit.at_ns)} commit at revision {commit.revision}, after one at {newest}"
    counted = Counter(commit.revision for commit in history.commits)
    yield from (f"{times} commits at revision {revision}" for revision, times in sorted(counted.items()) if times > 1)
    last = 0
    for entry in history.log:
        if entry.revision < last:
            yield f"the log has revision {entry.revision} of {entry.key} after revision {last}"
        last = max(last, entry.revision)


def _answers(history: History) -> Iterator[str]:
    """Real-time order: an answer's revision is no older than any that a client knew before the attempt began, unless
    the attempt asks for less."""
    order = Order(history)
    for attempt in history.attempts:
        known = order.known_before(attempt.start_ns)
        if attempt.outcome is Outcome.OK and attempt.is_consistent and attempt.revision < known.revision:
            yield (
                f"{attempt.where} was answered revision {attempt.revision}, though {known.who} knew of "
                f"{known.revision} at {time_text(known.at_ns)}"
            )
