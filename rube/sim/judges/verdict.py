"""The verdict of a judge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rube.api.times import NS_PER_MS, NS_PER_S

OFFENDING_MAX = 8
_TIME = re.compile(r"(?<![\w.])(\d+)\.(\d{3})s\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One check's result. `text` says in plain words what held or did not; `offending` shows the first events.

    A check that is not `judged` found nothing to judge, and `text` says why. It counts as passed.
    """

    check: str
    passed: bool
    text: str
    judged: bool = True
    offending: Sequence[str] = field(default=())


def judge(check: str, held: str, offending: Iterable[str], violated: str = "") -> Verdict:
    """Passed with the text `held` if nothing offends, else failed with the first things that offend."""
    first = list(islice(offending, OFFENDING_MAX + 1))
    if not first:
        return Verdict(check=check, passed=True, text=held)
    text = violated or f"not so: {held}"
    if len(first) > OFFENDING_MAX:
        first[-1] = "…"
    return Verdict(check=check, passed=False, text=text, offending=tuple(first))


def not_judged(check: str, why: str) -> Verdict:
    """The verdict of a check that this run gives nothing to judge."""
    return Verdict(check=check, passed=True, judged=False, text=f"not judged: {why}")


def many(count: int, noun: str) -> str:
    """`1 unit`, `2 units`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def time_text(time_ns: int) -> str:
    """Virtual time as reports show it: `42.318s`."""
    return f"{time_ns / 1e9:.3f}s"


def time_in(line: str) -> int | None:
    """The first time that a line of a report names, as `time_text` writes it; None: it names none."""
    found = _TIME.search(line)
    return None if found is None else int(found.group(1)) * NS_PER_S + int(found.group(2)) * NS_PER_MS
