"""The promises of an election: a lease is not taken before it lapses, terms grow, earlier terms' calls are refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rube.api import Fence, Lease
from rube.sim.judges.contents import Content
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, Commit, Outcome
from rube.sim.judges.verdict import Verdict, judge, many, time_text

LEASES = "leases"
FENCING = "fencing"
LEASE_PREFIX = f"{Lease.DESCRIPTOR.full_name}/"
REPLICATED_PREFIX = "replicated/"
"""The groups whose members share an outbox: the next leader sends the calls that an earlier one has left, with its
fence."""
RATE_MARGIN = 0.005
"""The clocks of two machines may run at rates so far apart."""


def leases(history: History) -> Verdict:
    """Checks that no process takes a lease that another one holds before it has been unchanged for its duration, and
    that each new holder begins a new term."""
    timeline = history.timeline
    commits = {commit.revision: commit for commit in history.commits}
    keys = [key for key in timeline.keys if key.startswith(LEASE_PREFIX)]
    return judge(
        LEASES,
        f"{many(len(keys), 'lease')} changed hands only after they had lapsed or were released",
        (line for key in keys for line in _lease(key, list(timeline.versions(key)), commits)),
        "a lease was taken from who held it",
    )


def _lease(key: str, versions: list[tuple[int, Content | None]], commits: dict[int, Commit]) -> Iterator[str]:
    before: tuple[int, Lease] | None = None
    for revision, content in versions:
        if content is None:
            before = None
            continue
        lease = Lease()
        content.obj.spec.Unpack(lease)
        if before is not None:
            yield from _handed(f"{key} at revision {revision}", before, (revision, lease), commits)
        before = revision, lease


def _handed(
    where: str,
    before: tuple[int, Lease],
    after: tuple[int, Lease],
    commits: dict[int, Commit],
) -> Iterator[str]:
    (old_revision, old), (new_revision, new) = before, after
    if new.term < old.term:
        yield f"{where} is of term {new.term}, after {old.term}"
    if new.holder in ("", old.holder):
        return
    if new.term <= old.term:
        yield f"{where} went from {old.holder or 'no holder'} to {new.holder} without a new term: {new.term}"
    renewed, taken = commits.get(old_revision), commits.get(new_revision)
    if not old.holder or renewed is None or taken is None:
        return
    stood_ns = taken.at_ns - renewed.start_ns
    if stood_ns < old.duration.ToNanoseconds() * (1 - RATE_MARGIN):
        yield (
            f"{time_text(taken.at_ns)} {where} went from {old.holder} to {new.holder} {stood_ns / 1e9:.3f} s after it "
            f"was renewed, for {old.duration.ToNanoseconds() / 1e9:g} s"
        )


def fencing(history: History) -> Verdict:
    """No call of an earlier term is taken once one of a later term of its group was; a term has one leader; and no
    controller that is led writes without its term."""
    by_group: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in history.attempts:
        fence = _fence(attempt)
        if fence is not None and attempt.outcome is Outcome.OK:
            by_group[fence.group].append(attempt)
    taken = sum(len(attempts) for attempts in by_group.values())
    return judge(
        FENCING,
        f"{many(taken, 'call')} of leaders were taken in the order of their terms",
        [*(line for group in sorted(by_group) for line in _fenced(group, by_group[group])), *_unfenced(history)],
        "the call of an earlier leader was taken, or might have been",
    )


def _fenced(group: str, attempts: list[Attempt]) -> Iterator[str]:
    leaders: dict[int, str] = {}
    for attempt in attempts:
        leader = leaders.setdefault(_term(attempt), attempt.client)
        if leader != attempt.client and not group.startswith(REPLICATED_PREFIX):
            yield f"{attempt.where} is of term {_term(attempt)} of {group}, which {leader} began"
    newest: Attempt | None = None
    for attempt in sorted(attempts, key=lambda item: (item.revision, _term(item))):
        if newest is not None and _term(attempt) < _term(newest) and attempt.revision > newest.revision:
            yield (
                f"{attempt.where} was taken at revision {attempt.revision}, of term {_term(attempt)} of {group}, after "
                f"term {_term(newest)} had written at {newest.revision}"
            )
        if newest is None or _term(attempt) > _term(newest):
            newest = attempt


def _unfenced(history: History) -> Iterator[str]:
    """Yields writes of a leader without a fence. Leases, which elect it, need none; users and nodes have no leader."""
    for attempt in history.attempts:
        led = attempt.is_write and not attempt.user and attempt.client not in history.nodes
        if led and _fence(attempt) is None and not all(key.startswith(LEASE_PREFIX) for key in attempt.keys):
            yield f"{attempt.where} carries no term of a leader"


def _fence(attempt: Attempt) -> Fence | None:
    return attempt.fence if attempt.is_write else None


def _term(attempt: Attempt) -> int:
    fence = _fence(attempt)
    return 0 if fence is None else fence.term
