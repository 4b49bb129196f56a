"""The history of contents: each object's version at each revision, and the part that a filter sees."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from google.protobuf.message import Message

from rube.api.well_known import EVERY_TYPE
from rube.sim.judges.contents import Content
from rube.sim.judges.records import LogEntry
from rube.sim.judges.selection import Selection, demands


class SeenChange(NamedTuple):
    """A change as a filter sees it: `content` is the object after it, or, of an end, before it."""

    revision: int
    content: Content
    deleted: bool


class Timeline:
    """Made of the log of a store, which reaches back to its beginning."""

    def __init__(self, log: Sequence[LogEntry], messages: Mapping[str, type[Message]] | None = None) -> None:
        self.messages = messages or {}
        """Those of types that were pushed, by full name."""
        self._revisions: dict[str, list[int]] = defaultdict(list)
        self._contents: dict[str, list[Content | None]] = defaultdict(list)
        self._changes: list[tuple[LogEntry, Content | None]] = []
        # By type, and by type and a label that it had or has: the places in `_changes`.
        self._by_type: dict[str, list[int]] = defaultdict(list)
        self._by_label: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        self._seen: dict[Selection, list[SeenChange]] = {}
        self._states: dict[Selection, tuple[int, int, dict[str, Content]]] = {}
        self.revision = 0
        """The newest."""
        for entry in log:
            self._add(entry)

    @property
    def keys(self) -> Sequence[str]:
        """The keys of all objects that ever were, sorted."""
        return sorted(self._revisions)

    def versions(self, key: str) -> Iterator[tuple[int, Content | None]]:
        """(revision, content or None for a delete) of one object, in order."""
        return zip(self._revisions.get(key, ()), self._contents.get(key, ()), strict=True)

    def at(self, key: str, revision: int) -> Content | None:
        """The object as it was at that revision; None: there was none."""
        place = bisect_right(self._revisions.get(key, ()), revision)
        return self._contents[key][place - 1] if place else None

    def changed_at(self, key: str, revision: int) -> bool:
        """Returns whether the object was written or deleted at exactly that revision."""
        revisions = self._revisions.get(key, ())
        place = bisect_right(revisions, revision)
        return bool(place) and revisions[place - 1] == revision

    def seen(self, selection: Selection) -> Sequence[SeenChange]:
        """Every change that a filter sees, in order."""
        found = self._seen.get(selection)
        if found is None:
            found = self._seen[selection] = list(self._see(selection))
        return found

    def after(self, selection: Selection, revision: int) -> Sequence[SeenChange]:
        """Returns the changes of later revisions than that."""
        seen = self.seen(selection)
        return seen[bisect_right(seen, revision, key=lambda item: item.revision) :]

    def matching(self, selection: Selection, revision: int) -> Mapping[str, Content]:
        """The objects that matched at that revision. The mapping is good until the next call."""
        seen = self.seen(selection)
        known, place, state = self._states.get(selection, (0, 0, {}))
        if known > revision:
            place, state = 0, {}
        while place < len(seen) and seen[place].revision <= revision:
            change = seen[place]
            place += 1
            if change.deleted:
                state.pop(change.content.key, None)
            else:
                state[change.content.key] = change.content
        self._states[selection] = (revision, place, state)
        return state

    def _add(self, entry: LogEntry) -> None:
        contents = self._contents[entry.key]
        before = contents[-1] if contents else None
        self._revisions[entry.key].append(entry.revision)
        contents.append(entry.content)
        place = len(self._changes)
        self._changes.append((entry, before))
        self.revision = max(self.revision, entry.revision)
        self._by_type[entry.key.partition("/")[0]].append(place)
        labels = {
            (content.type, label, value)
            for content in (before, entry.content)
            if content is not None
            for label, value in content.obj.metadata.labels.items()
        }
        for label in labels:
            self._by_label[label].append(place)

    def _see(self, selection: Selection) -> Iterator[SeenChange]:
        for place in self._candidates(selection):
            entry, before = self._changes[place]
            if selection.matches(entry.content):
                assert entry.content is not None
                yield SeenChange(entry.revision, entry.content, False)
            elif selection.matches(before):
                assert before is not None
                yield SeenChange(entry.revision, before, True)

    def _candidates(self, selection: Selection) -> Sequence[int]:
        """The places of changes that a filter may see: fewer than all of a type where it names a label's value."""
        if selection.type == EVERY_TYPE:
            return range(len(self._changes))
        for demand in demands(selection.selector):
            if demand.values is not None and len(demand.values) == 1 and not demand.negated:
                (value,) = demand.values
                return self._by_label.get((selection.type, demand.label, value), ())
        return self._by_type.get(selection.type, ())
