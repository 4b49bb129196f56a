"""The promises of controllers' caches: they show what the store held, and in the end what it holds."""

from __future__ import annotations

from collections.abc import Iterator

from rube.api.well_known import NODE_LABEL
from rube.sim.judges.contents import difference
from rube.sim.judges.history import History
from rube.sim.judges.records import View
from rube.sim.judges.verdict import Verdict, judge, many, not_judged, time_text

CHECK = "views"
SETTLED_NS = 20_000_000_000
"""A change that is older than this has reached every cache in a quiet world."""


def views(history: History) -> Verdict:
    """Each object that a controller saw was in the store, just so; and the last decision about an object saw it as it
    is in the end, where the world was quiet for long enough before."""
    if len(history.store_ids) > 1:
        return not_judged(CHECK, "the store was restored, and its history is lost")
    return judge(
        CHECK,
        f"{many(len(history.views), 'decision')} saw the store's content",
        [*_seen(history), *_last(history)],
        "a controller saw a state that never was",
    )


def _seen(history: History) -> Iterator[str]:
    for view in history.views:
        where = f"{time_text(view.at_ns)} {view.controller} on {view.host} decided about {view.key} and saw"
        for content in (view.own, *view.related):
            if content is None:
                continue
            there = history.timeline.at(content.key, content.revision)
            if there is None or there.revision != content.revision:
                yield f"{where} {content.key} at revision {content.revision}, where it was not written"
            elif there is not content and not view.partial and (view.whole or content is not view.own):
                yield f"{where} {content.key} as it was not: {difference(there, content)}"
            elif there.obj.metadata.uid != content.obj.metadata.uid:
                yield f"{where} {content.key} with the uid {content.obj.metadata.uid}"


def _last(history: History) -> Iterator[str]:
    """Yields controllers whose last decision did not see the newest version. A controller decides again whenever its
    object changes, and once about each object that it finds at its start. An object that was deleted, or left its view,
    while it was down need not be known."""
    settled_ns = history.end_ns - SETTLED_NS
    if history.quiet_ns > settled_ns:
        return
    away = history.down | {cut.host for cut in history.cuts if cut.end_ns > settled_ns}
    written_ns = {commit.revision: commit.at_ns for commit in history.commits}
    last: dict[tuple[str, str, str], View] = {}
    for view in history.views:
        # The last decision of a cluster controller is its leader's; a node's own has one for each node.
        place = view.host if view.host in history.nodes else ""
        last[view.controller, place, view.key] = view
    for _, view in sorted(last.items()):
        if view.own is None or view.selective or view.host in away:
            continue
        newest = history.timeline.at(view.key, history.timeline.revision)
        if newest is None or (view.host in history.nodes and newest.obj.metadata.labels.get(NODE_LABEL) != view.host):
            continue
        at_ns = written_ns.get(newest.revision, history.end_ns)
        if newest.revision > view.own.revision and at_ns < settled_ns:
            yield (
                f"{view.controller} on {view.host} decided last about {view.key} at {time_text(view.at_ns)}, as of "
                f"revision {view.own.revision}, but it changed at {time_text(at_ns)}, at revision {newest.revision}"
            )
