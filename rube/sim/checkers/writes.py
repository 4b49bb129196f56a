"""What the store promises its writers: nothing acknowledged is lost, and revisions only grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rube.api.systemd_pb2 import Unit
from rube.sim.checkers.history import Attempt, History, Outcome
from rube.sim.checkers.order import Order
from rube.sim.checkers.verdict import Verdict, judge, time_text

UNIT_PREFIX = f"{Unit.DESCRIPTOR.full_name}/"


def acknowledged_writes(history: History, *, asked: bool = True) -> Verdict:
    """Every acknowledged write is in the store's log at the revision that was promised; what the API shows in the end
    is what the log ends with. Where the check was `asked` for, something must have been written."""
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


def _lost(attempt: Attempt, history: History) -> Iterator[str]:
    for index, key in enumerate(attempt.keys):
        revision = attempt.revision if attempt.kind == "delete" else attempt.metadata[index].revision
        there = history.timeline.at(key, revision)
        if not history.timeline.changed_at(key, revision) or (there is None) != (attempt.kind == "delete"):
            yield f"{attempt.where} at revision {revision} was acknowledged, but the store's log does not have it"


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
        [*_commits(history), *_answers(history)],
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
    """Real-time order: what anybody knew before an attempt began bounds its answer from below, unless it asks for
    less."""
    order = Order(history)
    for attempt in history.attempts:
        known = order.known_before(attempt.start_ns)
        if attempt.outcome is Outcome.OK and attempt.is_consistent and attempt.revision < known.revision:
            yield (
                f"{attempt.where} was answered revision {attempt.revision}, though {known.who} knew of "
                f"{known.revision} at {time_text(known.at_ns)}"
            )
