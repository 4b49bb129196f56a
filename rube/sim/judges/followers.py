"""The promises of rube.client's informers: handlers get the changes of one copy, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from rube.sim.judges.contents import Content
from rube.sim.judges.history import History
from rube.sim.judges.records import Follower
from rube.sim.judges.verdict import Verdict, judge, many, time_text

CHECK = "followers"


def followers(history: History) -> Verdict:
    """Each change tells the object as it was last told, and does not tell again what is so already."""
    told = sum(len(follower.told) for follower in history.followers)
    return judge(
        CHECK,
        f"{many(told, 'change')} of followed objects were told one after the other",
        (line for follower in history.followers for line in _broken(follower)),
        "an informer told a change of what was not so",
    )


def _broken(follower: Follower) -> Iterator[str]:
    copy: dict[str, Content | None] = {}
    for told in follower.told:
        where = f"{time_text(told.at_ns)} {follower.client} was told that {told.key}"
        known = copy.get(told.key)
        if told.old is not known:
            yield f"{where} had been {_version(told.old)}, after it was told of {_version(known)}"
        elif told.old is told.new:
            yield f"{where} is {_version(told.new)}, as before"
        copy[told.key] = told.new


def _version(content: Content | None) -> str:
    return "nothing" if content is None else f"revision {content.revision} of {content.obj.metadata.uid}"
