"""The judge of puts that are to be refused."""

from __future__ import annotations

from collections.abc import Iterator

from rube.sim.judges.history import History
from rube.sim.judges.verdict import Verdict, judge, many, time_text


def refused(history: History) -> Verdict:
    """Checks that each put that a step wants refused was refused, with the words that the step has."""
    return judge("refused", f"{many(len(history.to_refuse), 'put')} refused as the steps say", _offending(history))


def _offending(history: History) -> Iterator[str]:
    for put in history.to_refuse:
        if put.answer is None:
            yield f"{time_text(put.at_ns)} {put.text}: no answer"
        elif not put.answer:
            yield f"{time_text(put.at_ns)} {put.text}: acknowledged, and not refused with {put.words!r}"
        elif put.words not in put.answer:
            yield f"{time_text(put.at_ns)} {put.text}: refused without {put.words!r}: {put.answer}"
