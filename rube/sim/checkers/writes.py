"""What the store promises its writers: nothing acknowledged is lost, and revisions only grow."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from rube.sim.checkers.history import Attempt, History, LogEntry, Outcome
from rube.sim.checkers.verdict import Verdict, judge, time_text


def acknowledged_writes(history: History) -> Verdict:
    """Every acknowledged put is in the store in the end, at the revision that was promised or overwritten by a later
    one; every acknowledged delete removed it, or it was put again later."""
    writes = [attempt for attempt in history.attempts if attempt.outcome is Outcome.OK and attempt.kind != "read"]
    if not writes:
        return Verdict(check="acknowledged_writes", passed=False, text="nothing was written")
    by_key: dict[str, list[LogEntry]] = defaultdict(list)
    for entry in history.log:
        by_key[entry.key].append(entry)
    return judge(
        "acknowledged_writes",
        f"none of {len(writes)} acknowledged writes was lost",
        (line for attempt in writes for line in _lost(attempt, by_key, history)),
        "acknowledged writes were lost",
    )


def _lost(attempt: Attempt, by_key: dict[str, list[LogEntry]], history: History) -> Iterator[str]:
    deleted = attempt.kind == "delete"
    for index, key in enumerate(attempt.keys):
        revision = attempt.object_revisions[index] if attempt.object_revisions else attempt.revision
        what = f"{time_text(attempt.end_ns)} {attempt.client}'s {attempt.kind} of {key} at revision {revision}"
        entries = by_key.get(key, [])
        if not any(entry.revision == revision and entry.deleted == deleted for entry in entries):
            yield f"{what} was acknowledged, but the store's log does not have it"
            continue
        last = entries[-1]
        there = history.final.get(key)
        if last.deleted != (there is None) or (there is not None and there != last.revision):
            yield f"{what}: the log ends with revision {last.revision}, the store shows {there or 'nothing'}"


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
    """Real-time order: what ended before an attempt began bounds its answer from below."""
    answered = sorted(
        (attempt for attempt in history.attempts if attempt.outcome is Outcome.OK), key=lambda item: item.end_ns
    )
    newest = Attempt(client="", kind="", keys=(), start_ns=0, end_ns=0, outcome=Outcome.OK)
    ended = 0
    for attempt in sorted(answered, key=lambda item: item.start_ns):
        while ended < len(answered) and answered[ended].end_ns < attempt.start_ns:
            if answered[ended].revision > newest.revision:
                newest = answered[ended]
            ended += 1
        if attempt.revision < newest.revision:
            yield (
                f"{time_text(attempt.start_ns)} {attempt.client} was answered revision {attempt.revision}, though "
                f"{newest.client} had been answered {newest.revision} at {time_text(newest.end_ns)}"
            )
