"""The promises of nodes: a unit is not started without need, an action's id means one action, a node's copy is one that
the store had."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from rube.api import UnitStatus, UpdateStatusRequest
from rube.api.well_known import MOVE_ANNOTATION, NODE_LABEL, RESTART_ANNOTATION, UNIT_TYPE
from rube.sim.judges.contents import Content, difference
from rube.sim.judges.history import History
from rube.sim.judges.records import Action, Attempt, Copy, DaemonError
from rube.sim.judges.selection import Selection
from rube.sim.judges.verdict import Verdict, judge, many, time_text

STARTS = "starts"
OWNERS = "owners"
MEMORIES = "memories"
GENERATIONS = "generations"
NOT_APPLIED = "is not applied"
"""The beginning of a node's words about a generation that it can't install."""
ACTIONS = "actions"
COPIES = "copies"


def starts(history: History) -> Verdict:
    """Checks that on each node a unit is started no more often than there was a reason: at first, with each change of
    its definition, after each crash, removal by hand and loss of power."""
    counted = Counter(
        (transition.node, transition.unit, transition.uid) for transition in history.transitions if transition.running
    )
    reasons = _Reasons(history)
    return judge(
        STARTS,
        f"each of {many(sum(counted.values()), 'start')} of units had a reason",
        (
            f"{unit} was started {times} times on {node}, for which there were {reasons.of(node, unit, uid)} reasons"
            for (node, unit, uid), times in sorted(counted.items())
            if times > reasons.of(node, unit, uid)
        ),
        "a unit was started without a reason",
    )


class _Reasons:
    def __init__(self, history: History) -> None:
        self._outages = Counter(host for _, host in history.machines.outages)
        self._disturbed = Counter((item.node, item.unit) for item in history.disturbances)
        # By unit and uid: the number of versions in which it was newly bound to each node, or its spec had changed.
        self._versions: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for key in history.timeline.keys:
            if key.startswith(f"{UNIT_TYPE}/"):
                self._count(key, [content for _, content in history.timeline.versions(key)])

    def _count(self, key: str, contents: list[Content | None]) -> None:
        before: Content | None = None
        for content in contents:
            if content is not None:
                node = content.obj.metadata.labels.get(NODE_LABEL, "")
                came = before is None or before.obj.metadata.labels.get(NODE_LABEL, "") != node
                if came or (before is not None and _asks(before) != _asks(content)):
                    unit = key.partition("/")[2]
                    self._versions[unit, content.obj.metadata.uid][node] += 1
            before = content

    def of(self, node: str, unit: str, uid: str) -> int:
        return self._versions[unit, uid][node] + self._disturbed[node, unit] + self._outages[node]


def _asks(content: Content) -> tuple[bytes, str, str]:
    """Returns a unit's definition, and the newest requests to restart it and to move it, which may be withdrawn."""
    annotations = content.obj.metadata.annotations
    return content.obj.spec.value, annotations.get(RESTART_ANNOTATION, ""), annotations.get(MOVE_ANNOTATION, "")


def owners(history: History) -> Verdict:
    """Each process that runs under an object's name was started for it, and not for an earlier one of that name."""
    return judge(
        OWNERS,
        "no unit's process went on under the name of another object",
        _lines(history.machines.inherited),
        "a unit that was put anew was not started anew",
    )


def memories(history: History) -> Verdict:
    """A controller remembers of an object what it last asked to keep, even if its calls fail."""
    return judge(
        MEMORIES,
        f"{many(len(history.views), 'decision')} remembered those before them",
        _lines(history.machines.forgotten),
        "a controller's memory was lost",
    )


def generations(history: History) -> Verdict:
    """A node reports a generation of a unit once it is installed there, or says that it can't be."""
    told = [attempt for attempt in history.attempts if attempt.client in history.nodes and _tells_of_unit(attempt)]
    return judge(
        GENERATIONS,
        f"{many(len(told), 'report')} of nodes were of generations that they had",
        (line for attempt in told for line in _generation(attempt, history)),
        "a node reported a generation that it did not have",
    )


def _tells_of_unit(attempt: Attempt) -> bool:
    request = attempt.request
    return isinstance(request, UpdateStatusRequest) and request.key.type == UNIT_TYPE


def _generation(attempt: Attempt, history: History) -> Iterator[str]:
    request = attempt.request
    assert isinstance(request, UpdateStatusRequest)
    status = UnitStatus()
    request.status.Unpack(status)
    generation = request.observed_generation
    if not generation or status.released_for or NOT_APPLIED in status.message:
        return
    since_ns = history.machines.installed.get((attempt.client, request.uid, generation))
    if since_ns is None or since_ns > attempt.start_ns:
        yield f"{attempt.where} is of generation {generation}, which was not installed there"


def _lines(complaints: list[DaemonError]) -> Iterator[str]:
    for complaint in complaints:
        yield f"{time_text(complaint.at_ns)} {complaint.host}: {complaint.text}"


def actions(history: History) -> Verdict:
    """Checks that each action was decided, durably, before a machine was asked for it; and that one id always means the
    same action: a repetition, not another one."""
    asked = history.machines.actions
    return judge(
        ACTIONS,
        f"{many(len(asked), 'action')} were asked for, each decided before and under an id of its own",
        [*_reused(asked), *_undecided(asked)],
        "an action was asked for that was not decided, or under the id of another one",
    )


def _reused(asked: list[Action]) -> Iterator[str]:
    known: dict[tuple[str, str], Action] = {}
    for action in asked:
        first = known.setdefault((action.node, action.id), action)
        if (first.thing, first.what) != (action.thing, action.what):
            yield (
                f"{time_text(action.at_ns)} {action.node} was asked to do {action.what} to {action.thing} as action "
                f"{action.id}, which was {first.what} to {first.thing} at {time_text(first.at_ns)}"
            )


def _undecided(asked: list[Action]) -> Iterator[str]:
    for action in asked:
        if not action.decided:
            what = f"{action.what} to {action.thing} as action {action.id}"
            yield f"{time_text(action.at_ns)} {action.node} was asked to do {what}, which its disk knew nothing of"


def copies(history: History) -> Verdict:
    """Checks that a rubelet's disk, whenever its daemon ends and in the end, has what the store had for its node at the
    disk's revision."""
    judged = [copy for copy in history.machines.copies if copy.store_id == history.store_id and copy.revision]
    return judge(
        COPIES,
        f"{len(judged)} copies on nodes' disks were as the store was at their revisions",
        (line for copy in judged for line in _copy(copy, history)),
        "a node's copy is one that the store never had",
    )


def _copy(copy: Copy, history: History) -> Iterator[str]:
    wanted = history.timeline.matching(Selection(UNIT_TYPE, selector=f"{NODE_LABEL}={copy.node}"), copy.revision)
    where = f"{time_text(copy.at_ns)} the disk of {copy.node}, as of revision {copy.revision},"
    for key in sorted(wanted.keys() | copy.objects.keys()):
        due, found = wanted.get(key), copy.objects.get(key)
        if due is None or found is None:
            yield f"{where} {'lacks' if found is None else 'has'} {key}"
        elif due is not found and (text := difference(due, found)):
            yield f"{where} has {key}, but {text}"
