"""The promises of the garbage collector: what nothing owns goes, what has an owner stays, and each deletion that waits
for others waits until they are gone.

Written for the judges alone: it shares no code with the controller that it judges.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from rube.api import DeleteRequest, Metadata, OwnerReference, UpdateLifecycleRequest
from rube.sim.judges.contents import Content
from rube.sim.judges.history import History
from rube.sim.judges.records import Attempt, LogEntry, Outcome
from rube.sim.judges.verdict import Verdict, judge, many

CHECK = "orphans"
SETTLED_NS = 40_000_000_000
"""The collector deletes within so long what nothing owns, in a quiet world."""
_NAMESPACE_PREFIX = "core.Namespace/"
_COLLECTOR = "garbage-collector"
_FOREGROUND, _ORPHAN, _CONTENTS = "foreground-deletion", "orphan", "namespace-contents"


def orphans(history: History) -> Verdict:
    """Checks, over the whole log, each deletion that neither a user nor another controller asked for, and each owner's
    end; and in the end that nothing is left of what only the dead own, and of namespaces that are gone."""
    collected = _Collected(history)
    found = list(collected.judge())
    return judge(
        CHECK,
        f"{many(collected.deleted, 'object')} went with the owners or the namespace, and none that had an owner",
        found,
        "the garbage collector deleted or left what it should not",
    )


class _Collected:
    """The objects and their owners, from one change of the log to the next."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._there: dict[str, Content] = {}
        self._alive: dict[str, str] = {}
        # By the uid of an owner: the keys of what it owns.
        self._owned: dict[str, dict[str, OwnerReference]] = defaultdict(dict)
        # By the uid of an object: the revision at which its deletion was asked for.
        self._marked: dict[str, int] = {}
        # By the uid of an owner that is gone: the revision.
        self._gone: dict[str, int] = {}
        self.deleted = 0
        """The deletions that the collector asked for."""
        self._by_others = frozenset(
            key
            for attempt in history.attempts
            if attempt.kind in ("delete", "update_lifecycle") and attempt.outcome is not Outcome.FAILED
            if attempt.user or not _is_collectors(attempt)
            for key in attempt.keys
        )

    def judge(self) -> Iterator[str]:
        for entry in self._history.log:
            before = self._there.get(entry.key)
            if before is not None and _is_ending(before, entry):
                yield from self._ended(before, entry)
            self._take(before, entry)
            if entry.content is None and before is not None:
                yield from self._left(before, entry)
        yield from self._remaining()

    def _take(self, before: Content | None, entry: LogEntry) -> None:
        if before is not None:
            for owner in before.obj.metadata.owner_references:
                self._owned[owner.uid].pop(entry.key, None)
            del self._there[entry.key]
            self._alive.pop(before.obj.metadata.uid, None)  # two of one uid are another judge's finding
        if entry.content is None:
            if before is not None:
                self._gone[before.obj.metadata.uid] = entry.revision
            return
        metadata = entry.content.obj.metadata
        self._there[entry.key], self._alive[metadata.uid] = entry.content, entry.key
        for owner in metadata.owner_references:
            self._owned[owner.uid][entry.key] = owner
        if metadata.HasField("delete_time"):
            self._marked.setdefault(metadata.uid, entry.revision)

    def _ended(self, before: Content, entry: LogEntry) -> Iterator[str]:
        """Judges a deletion, or its beginning, by the state right before it."""
        metadata = before.obj.metadata
        if entry.key in self._by_others:
            return
        namespace = self._there.get(_NAMESPACE_PREFIX + metadata.namespace) if metadata.namespace else None
        if namespace is not None and namespace.obj.metadata.HasField("delete_time"):
            self.deleted += 1
            return
        if not metadata.owner_references:
            return
        self.deleted += 1
        for owner in metadata.owner_references:
            key = self._alive.get(owner.uid)
            if key is not None and not _is_foreground(self._there[key].obj.metadata):
                yield f"{entry.key} was deleted at revision {entry.revision}, though {key}, which owns it, was there"

    def _left(self, before: Content, entry: LogEntry) -> Iterator[str]:
        """Judges the end of an owner, or of a namespace, by what is there right after it."""
        metadata = before.obj.metadata
        marked = self._marked.get(metadata.uid, 0)
        finalizers = metadata.finalizers
        where = f"{entry.key} ended at revision {entry.revision}, though"
        for key, owner in self._owned[metadata.uid].items():
            older = self._there[key].obj.metadata.create_revision < marked
            if _FOREGROUND in finalizers and owner.block_deletion and older:
                yield f"{where} {key}, which blocks its deletion, was there"
            if _ORPHAN in finalizers and older:
                yield f"{where} {key} still named it as its owner"
        if entry.key.startswith(_NAMESPACE_PREFIX) and _CONTENTS in finalizers:
            for key, content in self._there.items():
                if content.obj.metadata.namespace == metadata.name:
                    yield f"{where} {key} was in it"

    def _remaining(self) -> Iterator[str]:
        committed_ns = {commit.revision: commit.at_ns for commit in self._history.commits}
        settled_ns = self._history.end_ns - SETTLED_NS
        for key in sorted(self._there):
            metadata = self._there[key].obj.metadata
            owners = metadata.owner_references
            if not owners or metadata.HasField("delete_time") or any(owner.uid in self._alive for owner in owners):
                continue
            last = max(max(self._gone.get(owner.uid, 0) for owner in owners), metadata.revision)
            if committed_ns.get(last, 0) < settled_ns:
                yield f"{key} was there in the end, though its owners were gone since revision {last}"


def _is_ending(before: Content, entry: LogEntry) -> bool:
    """Returns whether this change asks for a deletion, or makes it without having asked before."""
    if before.obj.metadata.HasField("delete_time"):
        return False
    return entry.content is None or entry.content.obj.metadata.HasField("delete_time")


def _is_collectors(attempt: Attempt) -> bool:
    """Returns whether the leader of the garbage collectors sent it, or a client that leads nothing."""
    request = attempt.request
    if not isinstance(request, (DeleteRequest, UpdateLifecycleRequest)) or not request.fence.group:
        return True
    return request.fence.group.endswith(_COLLECTOR)


def _is_foreground(metadata: Metadata) -> bool:
    return metadata.HasField("delete_time") and _FOREGROUND in metadata.finalizers
