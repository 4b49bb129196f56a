"""The content of the store: exactly what apiservers committed and clients sent.

Three witnesses that share no code: clients' requests, the transactions of apiservers at their store, and the log that
is read from the store in the end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from rube.api import (
    ApplyRequest,
    DeleteRequest,
    Object,
    PatchRequest,
    PutRequest,
    RenewLeaseRequest,
    UpdateLifecycleRequest,
    UpdateStatusRequest,
)
from rube.api.keys import INTERNAL_PREFIX
from rube.sim.judges.contents import Content, difference, without_revisions
from rube.sim.judges.history import History
from rube.sim.judges.model import (
    after_apply,
    after_delete,
    after_lifecycle,
    after_patch,
    after_put,
    after_renewal,
    after_status,
)
from rube.sim.judges.records import Asked, Attempt, LogEntry, Outcome
from rube.sim.judges.timeline import Timeline
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "contents"
_FENCE_PREFIX = b"!fence/"


def contents(history: History) -> Verdict:
    """Checks that every revision of the log is one transaction that an apiserver asked for, that each change in it is
    one that a client sent, and that the fields that the server decides (uid, times, generation) are as they should be.
    """
    log = _by_revision(history.log)
    return judge(
        CHECK,
        f"all {many(len(history.log), 'version')} in the store are what clients wrote",
        [*_objects(history.log), *_Transactions(history, log).judge(), *_Sent(history, log).judge()],
        "the store holds what no client wrote",
    )


def _by_revision(log: Sequence[LogEntry]) -> dict[int, list[LogEntry]]:
    found: dict[int, list[LogEntry]] = defaultdict(list)
    for entry in log:
        found[entry.revision].append(entry)
    return found


def _objects(log: Sequence[LogEntry]) -> Iterator[str]:
    """Checks the fields that the server decides of objects, over all their versions."""
    last: dict[str, Content | None] = {}
    uids: dict[str, str] = {}
    for entry in log:
        before, after = last.get(entry.key), entry.content
        last[entry.key] = after
        if after is None:
            if before is None:
                yield f"the log deletes {entry.key} at revision {entry.revision}, which was not there"
            continue
        where = f"{entry.key} at revision {entry.revision}"
        if after.key != entry.key:
            yield f"{where} is {after.key}"
        for problem in _created(entry, after) if before is None else _changed(before, after):
            yield f"{where}: {problem}"
        owner = uids.setdefault(after.obj.metadata.uid, f"{entry.key} since {after.obj.metadata.create_revision}")
        if owner != f"{entry.key} since {after.obj.metadata.create_revision}":
            yield f"{where} has the uid of {owner}"


def _created(entry: LogEntry, after: Content) -> Iterator[str]:
    metadata = after.obj.metadata
    if metadata.create_revision != entry.revision:
        yield f"it is new, but its create_revision is {metadata.create_revision}"
    if metadata.generation != 1:
        yield f"it is new, but its generation is {metadata.generation}"
    if not metadata.uid:
        yield "it has no uid"
    if not metadata.HasField("create_time"):
        yield "it has no create_time"
    if after.obj.HasField("status"):
        yield "it is new, but has a status"


def _changed(before: Content, after: Content) -> Iterator[str]:
    was, is_ = before.obj.metadata, after.obj.metadata
    for name in ("uid", "create_revision", "create_time"):
        if getattr(was, name) != getattr(is_, name):
            yield f"its {name} changed"
    new_spec = before.obj.spec != after.obj.spec
    if is_.generation != was.generation + new_spec:
        what = "the spec changed" if new_spec else "the spec is the same"
        yield f"its generation went from {was.generation} to {is_.generation}, though {what}"
    if before.body == after.body:
        yield "it was written, but nothing changed"
    if new_spec and before.obj.status != after.obj.status:
        yield "its spec and its status changed at once"


class _Transactions:
    """The log beside what apiservers asked their store for."""

    def __init__(self, history: History, log: Mapping[int, Sequence[LogEntry]]) -> None:
        self._log = log
        self._asked = history.asked
        self._terms = {(term.revision, term.group): term.term for term in history.terms}
        self._bodies: dict[bytes, bytes] = {}

    def judge(self) -> Iterator[str]:
        known = {asked.revision: asked for asked in self._asked if asked.revision}
        unanswered = [asked for asked in self._asked if not asked.revision and not asked.refused]
        for revision in sorted(known):
            yield from self._kept(known[revision])
        for revision in sorted(self._log.keys() - known.keys()):
            found = next((asked for asked in unanswered if self._same(asked, self._log[revision])), None)
            if found is None:
                keys = ", ".join(entry.key for entry in self._log[revision])
                yield f"the log has revision {revision} ({keys}), which no apiserver asked for"
            else:
                unanswered.remove(found)

    def _kept(self, asked: Asked) -> Iterator[str]:
        """A transaction that was acknowledged is all of its revision."""
        where = f"{asked.server}'s transaction was acknowledged as revision {asked.revision}, but"
        there = {entry.key: entry for entry in self._log.get(asked.revision, ())}
        for raw, value in asked.changes:
            if raw.startswith(_FENCE_PREFIX):
                group = raw.partition(b"/")[2].decode()
                if self._terms.get((asked.revision, group)) != int(value or b"0"):
                    yield f"{where} the log does not have the term {value!r} of {group} there"
            if raw.startswith(INTERNAL_PREFIX):
                continue
            key = _key_text(raw)
            entry = there.pop(key, None)
            if entry is None:
                yield f"{where} the log does not have {key} there"
            elif self._body(value) != (entry.content.body if entry.content else b""):
                yield f"{where} the log has something else of {key} there"
        for key in sorted(there):
            yield f"{where} the log has {key} there, too"

    def _same(self, asked: Asked, entries: Sequence[LogEntry]) -> bool:
        wanted = {
            _key_text(raw): self._body(value) for raw, value in asked.changes if not raw.startswith(INTERNAL_PREFIX)
        }
        return wanted == {entry.key: entry.content.body if entry.content else b"" for entry in entries}

    def _body(self, value: bytes | None) -> bytes:
        if value is None:
            return b""
        found = self._bodies.get(value)
        if found is None:
            found = self._bodies[value] = without_revisions(Object.FromString(value))
        return found


def _key_text(raw: bytes) -> str:
    return "/".join(part for part in raw.decode().split("/") if part)


class _Sent:
    """The log beside what clients sent: each revision is one request, or renewals of leases; no request is two."""

    def __init__(self, history: History, log: Mapping[int, Sequence[LogEntry]]) -> None:
        self._log = log
        self._timeline = history.timeline
        self._answered: dict[int, list[Attempt]] = defaultdict(list)
        self._unanswered: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in history.attempts:
            if not attempt.is_write:
                continue
            if attempt.outcome is Outcome.OK:
                self._answered[attempt.revision].append(attempt)
            elif attempt.outcome is Outcome.UNKNOWN:
                for key in attempt.keys:
                    self._unanswered[key].append(attempt)

    def judge(self) -> Iterator[str]:
        used: set[int] = set()
        for revision in sorted(self._log):
            entries = self._log[revision]
            if any(explains(attempt, entries, self._timeline) for attempt in self._answered[revision]):
                continue
            if all(self._renews(entry, used) for entry in entries):
                continue
            for attempt in self._unanswered[entries[0].key]:
                if id(attempt) not in used and explains(attempt, entries, self._timeline):
                    used.add(id(attempt))
                    break
            else:
                yield from self._unexplained(revision, entries)

    def _renews(self, entry: LogEntry, used: set[int]) -> bool:
        """Returns whether the change is a renewal, which shares its revision with others."""
        asked = [*self._answered[entry.revision], *self._unanswered[entry.key]]
        for attempt in asked:
            renews = isinstance(attempt.request, RenewLeaseRequest) and id(attempt) not in used
            if renews and explains(attempt, [entry], self._timeline):
                if attempt.outcome is Outcome.UNKNOWN:
                    used.add(id(attempt))
                return True
        return False

    def _unexplained(self, revision: int, entries: Sequence[LogEntry]) -> Iterator[str]:
        keys = {entry.key for entry in entries}
        near = next((attempt for attempt in self._answered[revision] if keys & set(attempt.keys)), None)
        if near is None:
            yield f"the log has revision {revision} ({', '.join(sorted(keys))}), which no client sent"
            return
        for entry in entries:
            if entry.key not in near.keys:
                yield f"the log has a change of {entry.key} at revision {revision}, which {near.where} does not name"
                continue
            expected = expected_after(near, entry.key, entry.content, self._timeline, revision - 1)
            yield f"{near.where} at revision {revision}: {told_difference(expected, entry)}"


def explains(attempt: Attempt, entries: Sequence[LogEntry], timeline: Timeline) -> bool:
    """Returns whether a request, carried out on the state before, makes exactly the changes of these entries of one
    revision."""
    keys = set(attempt.keys)
    if any(entry.key not in keys for entry in entries):
        return False
    for entry in entries:
        if told_difference(expected_after(attempt, entry.key, entry.content, timeline, entry.revision - 1), entry):
            return False
    # Whatever it names and did not change was as it wants it.
    changed = {entry.key for entry in entries}
    revision = entries[0].revision
    for key in attempt.keys:
        there = timeline.at(key, revision)
        if key not in changed:
            if there is None:
                return False
            expected = expected_after(attempt, key, there, timeline, revision)
            if expected is None or without_revisions(expected) != there.body:
                return False
    return True


def expected_after(attempt: Attempt, key: str, there: Content | None, timeline: Timeline, base: int) -> Object | None:
    """Returns the object that a request makes of the state at the revision `base`; None: no object, as after a
    delete."""
    request = attempt.request
    before = timeline.at(key, base)
    if isinstance(request, PutRequest) and there is not None:
        return after_put(before, request.objects[attempt.keys.index(key)], there, timeline.messages)
    if isinstance(request, ApplyRequest) and there is not None:
        return after_apply(before, request.objects[attempt.keys.index(key)], there, timeline.messages)
    if isinstance(request, PatchRequest) and before is not None and there is not None:
        return after_patch(before, request, there, timeline.messages)
    if isinstance(request, UpdateStatusRequest) and before is not None:
        return after_status(before, request, timeline.messages)
    if isinstance(request, DeleteRequest) and before is not None:
        return after_delete(before, request, there)
    if isinstance(request, UpdateLifecycleRequest) and before is not None:
        return after_lifecycle(before, request)
    if isinstance(request, RenewLeaseRequest) and before is not None:
        return after_renewal(before, request)
    return None


def told_difference(expected: Object | None, entry: LogEntry) -> str:
    """Returns how the log's entry differs from the expected object; "" if it does not."""
    content = entry.content
    if expected is None or content is None:
        return "" if expected is None and content is None else f"{entry.key} is there, or gone, and should not be"
    if without_revisions(expected) == content.body:
        return ""
    metadata, shown = expected.metadata, content.obj.metadata
    metadata.revision, metadata.create_revision = shown.revision, shown.create_revision
    return difference(Content(entry.key, content.type, expected, b""), content)
