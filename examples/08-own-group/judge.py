"""The rules of a ledger, judged from the history of a run. Pure: it knows no Raft, no network and no world."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Append(NamedTuple):
    """A line that was acknowledged, with its position and the time of the answer."""

    answered_ns: int
    line: str
    position: int


class Read(NamedTuple):
    """All lines, as a read showed them, and the time at which it was asked."""

    asked_ns: int
    lines: list[str]


@dataclass
class History:
    """The answers to the users of a ledger, in true time; and each member's copy at the end."""

    appends: list[Append] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    copies: dict[str, list[str]] = field(default_factory=dict)


def judge(history: History) -> list[str]:
    """Returns a sentence for each violation; none: the ledger is one ledger."""
    return [*_copies_differ(history), *_lines_are_lost(history), *_lines_are_twice(history), *_reads_are_wrong(history)]


def _copies_differ(history: History) -> Iterator[str]:
    (first, lines), *others = history.copies.items()
    for name, copy in others:
        if copy != lines:
            yield f"the copies of {first} and {name} differ"


def _lines_are_lost(history: History) -> Iterator[str]:
    for name, copy in history.copies.items():
        for append in history.appends:
            if copy[append.position - 1 : append.position] != [append.line]:
                yield f"{append.line} was acknowledged at position {append.position}, and is not there at {name}"


def _lines_are_twice(history: History) -> Iterator[str]:
    for name, copy in history.copies.items():
        if len(copy) != len(set(copy)):
            yield f"a line stands twice in the copy of {name}"


def _reads_are_wrong(history: History) -> Iterator[str]:
    ledger = max(history.copies.values(), key=len)
    for read in history.reads:
        if read.lines != ledger[: len(read.lines)]:
            yield f"a read at {read.asked_ns} ns showed other lines than the ledger has"
        known = max((one.position for one in history.appends if one.answered_ns < read.asked_ns), default=0)
        if len(read.lines) < known:
            yield (
                f"a read at {read.asked_ns} ns showed {len(read.lines)} lines; {known} had been acknowledged before "
                "it was asked"
            )
