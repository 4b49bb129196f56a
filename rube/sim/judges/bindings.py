"""The promises of placement and node health: a bound unit stays, a living node is not called silent, a silent one gets
no units."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api import Lease, Node, NodeStatus, Unit
from rube.api.well_known import MOVE_ANNOTATION, NODE_LABEL
from rube.sim.judges.contents import Content
from rube.sim.judges.history import History
from rube.sim.judges.leadership import LEASE_PREFIX
from rube.sim.judges.records import Attempt, Outcome
from rube.sim.judges.verdict import Verdict, judge, many, time_text

BINDINGS = "bindings"
READINESS = "readiness"
UNIT_PREFIX = f"{Unit.DESCRIPTOR.full_name}/"
NODE_PREFIX = f"{Node.DESCRIPTOR.full_name}/"
NODE_LEASES = f"{LEASE_PREFIX}node-leases/"
STALE_NS = 60_000_000_000
"""A leader that was cut off may decide from a state that is so old."""
RATE_MARGIN = 0.01
"""A node counts as silent by its lease's duration, as a clock of another machine measures it."""
NOTICED = 4
"""After so many durations every client has noticed."""


def bindings(history: History) -> Verdict:
    """A unit leaves its node only if a user or its own policy says so. A controller that chooses a node for it chooses
    one that takes units, and changes nothing else."""
    timeline = history.timeline
    keys = [key for key in timeline.keys if key.startswith(UNIT_PREFIX)]
    return judge(
        BINDINGS,
        f"the nodes of {many(len(keys), 'unit')} were chosen once, and among those that take units",
        (line for key in keys for line in _unit(key, history)),
        "a unit was bound where it should not be",
    )


def _unit(key: str, history: History) -> Iterator[str]:
    before: Content | None = None
    for revision, content in history.timeline.versions(key):
        old, new = _node(before), _node(content)
        if content is not None and old != new:
            writer = _writer(history, key, revision)
            by_user = writer is None or writer.user
            if old and not by_user and not _may_leave(before):
                yield f"{key} went from {old} to {new or 'no node'} at revision {revision}, without a request"
            # The creator of an object with a node, such as a user's own controller, has chosen the node.
            if new and before is not None and writer is not None and not by_user:
                if content.obj.spec != before.obj.spec:
                    yield f"{key} was bound to {new} at revision {revision}, and its spec of before was undone"
                yield from _takes_units(key, new, revision, writer, history)
        before = content


def _takes_units(key: str, node: str, revision: int, writer: Attempt, history: History) -> Iterator[str]:
    """Checks that the node took units at a time that the writer can have seen."""
    seen = [
        content
        for at_ns, content in _dated(history, NODE_PREFIX + node, revision)
        if at_ns >= writer.start_ns - STALE_NS
    ]
    if not any(_is_ready(content) for content in seen):
        yield f"{time_text(writer.start_ns)} {key} was bound to {node} at revision {revision}, which takes no units"


def _dated(history: History, key: str, until: int) -> Iterator[tuple[int, Content | None]]:
    """Each version up to that revision with the time until which it was the newest."""
    versions = [(revision, content) for revision, content in history.timeline.versions(key) if revision <= until]
    ends = {commit.revision: commit.at_ns for commit in history.commits}
    for place, (_, content) in enumerate(versions):
        following = versions[place + 1][0] if place + 1 < len(versions) else None
        yield (ends.get(following, history.end_ns) if following is not None else history.end_ns), content


def _is_ready(content: Content | None) -> bool:
    if content is None:
        return False
    spec, status = Node(), NodeStatus()
    content.obj.spec.Unpack(spec)
    content.obj.status.Unpack(status)
    return status.readiness == NodeStatus.READY and not spec.unschedulable


def _may_leave(content: Content | None) -> bool:
    """A user has asked for a move, or has said that the unit is to leave a lost node."""
    if content is None:
        return True
    unit = Unit()
    content.obj.spec.Unpack(unit)
    return MOVE_ANNOTATION in content.obj.metadata.annotations or unit.node_lost.HasField("move_after")


def _node(content: Content | None) -> str:
    return "" if content is None else content.obj.metadata.labels.get(NODE_LABEL, "")


def _writer(history: History, key: str, revision: int) -> Attempt | None:
    """Returns the put that was acknowledged with that revision of the object; None: no client learned of it."""
    for attempt in history.attempts:
        done = attempt.kind == "put" and attempt.outcome is Outcome.OK and attempt.revision == revision
        if done and key in attempt.keys:
            return attempt
    return None


def readiness(history: History) -> Verdict:
    """No node is called silent whose lease was renewed within its duration, and in the end a node is ready if and only
    if its rubelet renews."""
    keys = [key for key in history.timeline.keys if key.startswith(NODE_PREFIX)]
    return judge(
        READINESS,
        f"{many(len(keys), 'node')} were called ready and silent as they were",
        (line for key in keys for line in _node_life(key, history)),
        "a node was called silent or ready wrongly",
    )


def _node_life(key: str, history: History) -> Iterator[str]:
    name = key.rpartition("/")[2]
    times = {commit.revision: commit for commit in history.commits}
    leases = [*history.timeline.versions(NODE_LEASES + name)]
    renewals = [
        (times[revision].start_ns, _duration_ns(content))
        for revision, content in leases
        if content is not None and revision in times
    ]
    before = NodeStatus.UNKNOWN
    silent_ns = silent_revision = 0
    for revision, content in history.timeline.versions(key):
        now = _readiness(content)
        if now == NodeStatus.READY and before == NodeStatus.SILENT and revision in times:
            called_ns = times[revision].at_ns
            # Its last renewal may have been on its way when it was called silent.
            # The time of a renewal is unknown if its client died before it was answered.
            since = any(silent_revision < renewed < revision for renewed, _ in leases)
            if not since and not any(silent_ns - duration_ns < at_ns <= called_ns for at_ns, duration_ns in renewals):
                silent = f"since it was called silent at {time_text(silent_ns)}"
                yield f"{time_text(called_ns)} {name} was called ready, and has renewed nothing {silent}"
        if now != before and now == NodeStatus.SILENT and revision in times:
            called_ns = silent_ns = times[revision].at_ns
            silent_revision = revision
            last = [item for item in renewals if item[0] <= called_ns]
            if last and called_ns - last[-1][0] < last[-1][1] * (1 - RATE_MARGIN):
                yield (
                    f"{time_text(called_ns)} {name} was called silent {(called_ns - last[-1][0]) / 1e9:.3f} s after it "
                    f"had renewed its lease, of {last[-1][1] / 1e9:g} s"
                )
        before = now
    if renewals:
        yield from _in_the_end(name, before, renewals, history)


def _in_the_end(
    name: str, said: NodeStatus.Readiness.ValueType, renewals: list[tuple[int, int]], history: History
) -> Iterator[str]:
    last_ns, duration_ns = renewals[-1]
    quiet_ns = history.end_ns - max(last_ns, history.quiet_ns)
    if said == NodeStatus.READY and quiet_ns > NOTICED * duration_ns:
        yield f"{name} is called ready in the end; it renewed its lease last at {time_text(last_ns)}"
    renewing_since_ns = last_ns
    for at_ns, _ in reversed(renewals):
        if renewing_since_ns - at_ns > duration_ns:
            break
        renewing_since_ns = at_ns
    alive_ns = last_ns - max(renewing_since_ns, history.quiet_ns)
    if said != NodeStatus.READY and alive_ns > NOTICED * duration_ns and history.end_ns - last_ns < duration_ns:
        yield f"{name} is not called ready in the end, and renews its lease since {time_text(renewing_since_ns)}"


def _readiness(content: Content | None) -> NodeStatus.Readiness.ValueType:
    status = NodeStatus()
    if content is not None:
        content.obj.status.Unpack(status)
    return status.readiness


def _duration_ns(content: Content) -> int:
    lease = Lease()
    content.obj.spec.Unpack(lease)
    return lease.duration.ToNanoseconds()
